// The page of a fleet's plan: its file is a plan, and its command foretells what it comes to.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readFleetPlan } from "../../src/fleet/plan/plan.ts";
import { fleetFields } from "../../src/migration/list/list-file.ts";
import { startCli } from "../lab/run-cli.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/fleet/plan.md"), "utf8");
const dir = mkdtempSync(join(tmpdir(), "mk-fleet-page-"));
after(() => rmSync(dir, { recursive: true }));

const block = (language: string) =>
  new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)![1]!;
const path = join(dir, "plan.yaml");
writeFileSync(path, block("yaml"));

test("the page's plan is one, and is what the page says", () => {
  const { limits, targetDropMs, vms } = readFleetPlan(path, new Map(), {});
  assert.deepEqual(limits, { hostConnections: 24, datastoreRuns: 4, targetRuns: 8 });
  assert.equal(targetDropMs, 30_000);
  const [db, web] = vms;
  assert.deepEqual([db!.wave, db!.priority, web!.after], ["pilot", 10, ["db01"]]);
  assert.deepEqual(db!.schedule, { kind: "every", everyMs: 900_000 });
  assert.deepEqual(web!.schedule, {
    kind: "cron",
    line: "*/30 * * * *",
    timeZone: "Europe/Rome",
  });
  for (const name of fleetFields) assert.ok(page.includes(`| \`${name}\` |`), name);
});

test("the page's command foretells it, with an inventory of its VMs", async () => {
  const inventory = join(dir, "vms.json");
  const vm = {
    vm_path: "/Datacenter/vm/Production/db01",
    host: "esx1",
    disks: [{}],
    disk_bytes: 1,
  };
  writeFileSync(inventory, JSON.stringify({ endpoint: "vcenter.example.com:443", vms: [vm] }));
  const [, ...words] = block("sh").trim().split(" ");
  const here: Record<string, string> = { "plan.yaml": path, "vms.json": inventory };
  const args = [...words.map((word) => here[word] ?? word), "--state-dir", join(dir, "state")];
  const run = await startCli({ args }).result;
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /^pilot +2 /m);
  assert.match(run.stdout, /3 workers with 4 runs at a time/);
  assert.match(run.stdout, /^assumed of 1 VM: the ESXi host is not known/m);
});
