// docs/fleet/alerts.yaml and grafana.json ask for metrics that there are, with labels that these have.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { fleetMetricsText, workerMetricsText } from "../../../src/report/fleet/metrics.ts";
import { busyFleet } from "./sample.ts";

const folder = join(import.meta.dirname, "../../../docs/fleet");
const rulesFile = join(folder, "alerts.yaml");

/** The labels that each metric has in what is really rendered. */
const labels = new Map<string, Set<string>>();
const rendered = [
  fleetMetricsText(busyFleet()),
  workerMetricsText({
    ...{ name: "vma1", parallel: 4, draining: false, sinceDatabaseMs: 0, copiedBytes: 1 },
    runs: [{ action: "migrate", leaseLeftMs: 1, bytesPerSecond: 1 }],
    ended: { completed: 0, failed: 0, interrupted: 0, lost: 0 },
  }),
].join("");
for (const [, name = "", own = ""] of rendered.matchAll(/^(\w+)(?:\{(.*)\})? /gm)) {
  const names = [...own.matchAll(/([a-z_]+)="/g)].map(([, label]) => label!);
  labels.set(name, new Set([...(labels.get(name) ?? []), ...names]));
}

/** What an expression asks for that there is not; `said`: a text that names labels of its series. */
function unknownIn(expression: string, said: string): string[] {
  const metrics = expression.match(/\bmigratekit_\w+/g) ?? [];
  const unknown = metrics.filter((name) => !labels.has(name));
  const known = new Set(metrics.flatMap((name) => [...(labels.get(name) ?? [])]));
  const selected = [...expression.matchAll(/(\w+)(?:\{([^}]*)\})/g)].flatMap(([, name, inside]) =>
    [...inside!.matchAll(/([a-z_]+)=~?"/g)]
      .map(([, label]) => label!)
      .filter((label) => !labels.get(name!)?.has(label))
      .map((label) => `${name}{${label}}`),
  );
  const grouped = [...expression.matchAll(/\b(?:by|on|without|ignoring)\s*\(([^)]*)\)/g)].flatMap(
    ([, list]) => list!.split(",").map((label) => label.trim()),
  );
  const named = [...said.matchAll(/\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}/g)].map(
    ([, label]) => label!,
  );
  return [
    ...(metrics.length === 0 ? ["no metric at all"] : unknown),
    ...selected,
    ...[...grouped, ...named].filter((label) => !known.has(label)),
  ];
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Record<string, string>;
}

test("every alert asks for what is told, and says what it is about", () => {
  const { groups } = parse(readFileSync(rulesFile, "utf8")) as { groups: { rules: Rule[] }[] };
  const rules = groups.flatMap(({ rules }) => rules);
  assert.ok(rules.length > 8, `${rules.length} rules`);
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, expr, annotations } of rules) {
    assert.deepEqual(unknownIn(expr, Object.values(annotations).join(" ")), [], alert);
    assert.ok(annotations.summary && annotations.description, alert);
  }
});

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
}

test("every panel of the dashboard asks for what is told, and covers no other", () => {
  const { panels } = JSON.parse(readFileSync(join(folder, "grafana.json"), "utf8")) as {
    panels: Panel[];
  };
  assert.ok(panels.length > 12, `${panels.length} panels`);
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { title, targets, gridPos } of panels) {
    for (const { expr, legendFormat } of targets) {
      assert.deepEqual(unknownIn(expr, legendFormat), [], title);
    }
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(x < 24 && !taken.has(`${x} ${y}`), `${title} at ${x}, ${y}`);
        taken.add(`${x} ${y}`);
      }
    }
  }
});

test("a metric, a selected, a grouped and a named label that are not there are seen", () => {
  assert.deepEqual(unknownIn("migratekit_fleet_vmz > 1", ""), ["migratekit_fleet_vmz"]);
  assert.deepEqual(unknownIn('migratekit_fleet_vms{host="x"}', ""), ["migratekit_fleet_vms{host}"]);
  assert.deepEqual(unknownIn("sum by (host) (migratekit_fleet_vms)", ""), ["host"]);
  assert.deepEqual(unknownIn("migratekit_fleet_vms", "{{ $labels.host }} {{wave}}"), ["host"]);
  assert.deepEqual(unknownIn("vector(0)", ""), ["no metric at all"]);
});

test("promtool takes the rules, where it is to be had", (t) => {
  const check = spawnSync("promtool", ["check", "rules", rulesFile], { encoding: "utf8" });
  if (check.error) t.diagnostic("promtool is not here; expressions were not parsed");
  else assert.equal(check.status, 0, check.stdout + check.stderr);
});
