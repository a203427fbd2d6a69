// `fleet plan`: what a plan comes to, from the command line.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";

const dir = mkdtempSync(join(tmpdir(), "mk-fleet-plan-"));
after(() => rmSync(dir, { recursive: true }));

function file(name: string, lines: readonly string[]): string {
  const path = join(dir, name);
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

const entry = (name: string, ...fields: string[]) => [
  `  - vmware-path: /DC/vm/${name}`,
  `    nbd-export-name: ${name}-{key}`,
  ...fields.map((field) => `    ${field}`),
];
const plan = file("plan.yaml", [
  ...["fleet:", "  target-drop-time: 30s", "defaults:", "  vmware-endpoint: vc.example.com"],
  ...["  time-zone: Europe/Rome", "  cutover-window: Sun 02:00-05:00", "  every: 1h", "vms:"],
  ...entry("db01", "wave: pilot"),
  ...entry("web01", "wave: pilot", "after: db01", "cutover-window: Sun 02:00-02:30"),
  ...entry("web02"),
]);
const inventory = file("vms.json", [
  JSON.stringify({
    endpoint: "vc.example.com:443",
    vms: ["db01", "web01", "web02"].map((name) => ({
      vm_path: `/DC/vm/${name}`,
      host: "esx01",
      datastores: ["fast"],
      disks: [{}],
      disk_bytes: 36 * 2 ** 30,
    })),
  }),
]);
const args = [
  ...["fleet", "plan", plan, "--inventory", inventory, "--state-dir", join(dir, "state")],
  ...["--start", "2026-12-01T20:00Z", "--assume-rate", "10M", "--assume-downtime", "20m"],
  ...["--parallel-vms", "2"],
];

test("a plan's waves stand in a table, trouble above it and what was assumed below", async () => {
  const run = await startCli({ args }).result;
  assert.equal(run.code, 0, run.stderr);
  const lines = run.stdout.split("\n");
  const at = (part: RegExp) => lines.findIndex((line) => part.test(line));
  assert.match(lines[0]!, /plan.yaml: 3 VMs in 2 waves, 108 GiB to be copied first$/);
  assert.match(lines[1]!, /^from 2026-12-01 20:00 UTC, 1 worker with 2 runs at a time$/);
  const trouble = at(/^trouble: web01: the cutover would end after its window: it begins late/);
  // 36 GiB at 10 MiB/s are 1:01:26; two of them, then one, with a minute for each sync.
  const pilot = at(
    /^pilot +2 +72.0 GiB +2026-12-01 21:02 +1 of 2 fit, 2026-12-06 01:00 to 2026-12-06 01:4\d +the copy of db01$/,
  );
  const rest = at(/^ +1 +1 +36.0 GiB +2026-12-01 22:04 +all fit, .*$/);
  const assumed = at(/^assumed of 3 VMs: 10.0 MiB\/s for its copy \(--assume-rate\)$/);
  assert.ok(trouble === 2 && pilot > trouble && rest === pilot + 1, run.stdout);
  assert.ok(assumed > rest, run.stdout);
  assert.ok(!run.stdout.includes("ESXi host is not known"), "the inventory told it");
});

test("with --json there is one document with every VM", async () => {
  const run = await startCli({ args: [...args, "--json"] }).result;
  assert.equal(run.code, 0, run.stderr);
  const document = JSON.parse(run.stdout) as {
    vms: { name: string; host: string; in_sync_at: string; cutover: { fits: boolean } }[];
  };
  assert.deepEqual(
    document.vms.map(({ name, host, cutover }) => [name, host, cutover.fits]),
    [
      ["db01", "vc.example.com:443 esx01", true],
      ["web01", "vc.example.com:443 esx01", false],
      ["web02", "vc.example.com:443 esx01", true],
    ],
  );
});

test("every mistake of a plan is told, and the exit code is 2", async () => {
  const wrong = file("wrong.yaml", [
    ...["defaults:", "  vmware-endpoint: vc", "vms:"],
    ...entry("a", "every: soon"),
    ...entry("b", "vmware-password: pa55word"),
  ]);
  const run = await startCli({ args: ["fleet", "plan", wrong] }).result;
  assert.equal(run.code, 2);
  assert.equal(run.stdout, "");
  assert.match(run.stderr, /wrong.yaml:6: every is "soon"/);
  assert.match(run.stderr, /wrong.yaml:9: vmware-password does not belong into a plan/);
  assert.match(run.stderr, /error \[usage\]: .*wrong.yaml has 2 mistakes; the first: .*:6: every/);
  assert.ok(!run.stderr.includes("pa55word"));
  const none = await startCli({ args: ["fleet", "plan"] }).result;
  assert.equal(none.code, 2);
  assert.match(none.stderr, /missing required argument 'file'/);
});
