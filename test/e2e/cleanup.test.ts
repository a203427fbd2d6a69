import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { hasJournal, runCommand, startCommand } from "./cli-commands.ts";
import { assertFailure, assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

const vsphere = 3;
const locked = 7;

interface Cleaned {
  status: string;
  local: { kind: string; outcome: string }[];
  vms: {
    vm: string;
    skipped?: string;
    leftovers: { kind: string; what: string; outcome: string }[];
  }[];
}

let lab: Lab;
/** Of our processes alone: other tests leave things in the common one for a while. */
let env: { TMPDIR: string };
before(async () => {
  const disk = (seed: number) => ({
    capacityBytes: 4 << 20,
    fill: { seed, dataRatio: 0.7, zeroRatio: 0 },
  });
  lab = await startLab({
    targets: "direct",
    vms: ["one01", "two01", "busy01"].map((name, at) => ({ name, disks: [disk(at)] })),
  });
  env = { TMPDIR: join(lab.dir, "tmp") };
  mkdirSync(env.TMPDIR);
});
after(() => lab.stop());
beforeEach(() => lab.vcenter.faults.clear());

/** A run killed in the middle of its copy, with everything that it had open. */
async function killRun(vm: LabVm): Promise<void> {
  await lab.vddk.setFaults({ delay_us: 20_000_000 });
  const { child, result } = startCommand(lab, "migrate", vm, { extra: ["--full"] }, env);
  // Snapshot and journal may be an earlier run's; nbdkit comes after both were replaced.
  const hasNbdkit = () => readdirSync(env.TMPDIR).some((name) => name.includes(`-${child.pid}-`));
  await until("it copies", () => hasNbdkit() && vm.snapshots.length > 0 && hasJournal(lab, vm));
  child.kill("SIGKILL");
  await result;
  await lab.vddk.setFaults({});
  assert.equal(vm.snapshots.length, 1);
}

async function cleanup(vm: LabVm, ...extra: string[]) {
  const run = await runCommand(lab, "cleanup", vm, { extra: ["--json", ...extra] }, env);
  const cleaned = run.stdout === "" ? undefined : run.json<Partial<Cleaned>>();
  const outcomes = cleaned?.vms?.flatMap(({ leftovers }) =>
    leftovers.map(({ kind, outcome }) => `${kind} ${outcome}`),
  );
  return { ...run, ...cleaned, outcomes };
}

test("after kill -9, --dry-run lists everything and changes nothing; without it all is gone but the journal", async () => {
  const vm = lab.vm("one01");
  await killRun(vm);
  lab.vcenter.log.clear();
  const dry = await cleanup(vm, "--dry-run");
  assert.equal(dry.code, 0, dry.stderr);
  assert.deepEqual(dry.outcomes, [
    "snapshot would be removed",
    "run would be removed",
    "journal kept",
  ]);
  assert.deepEqual(
    dry.local?.map(({ kind, outcome }) => `${kind} ${outcome}`),
    ["nbdkit would be removed"],
  );
  assert.deepEqual(lab.vcenter.log.changes(), []);
  assert.equal(readdirSync(env.TMPDIR).length, 1);

  const run = await cleanup(vm);
  assert.equal(run.code, 0, run.stderr);
  assert.deepEqual(run.outcomes, ["snapshot removed", "run removed", "journal kept"]);
  assertNoSnapshot(vm);
  assert.deepEqual(readdirSync(env.TMPDIR), []);
  const removals = lab.vcenter.log.calls.filter(({ method }) => method === "RemoveSnapshot_Task");
  assert.equal(removals.length, 1);
  assert.deepEqual(removals[0]!.parameters, { removeChildren: false, consolidate: true });

  const again = await runCommand(lab, "cleanup", vm, {}, env);
  assert.match(again.stdout, /^kept: journal interrupted full copy of disk-2000/);
  assert.equal((await migrateWell(lab, vm)).disks[0]!.resumed, true);
  const clean = await runCommand(lab, "cleanup", vm, {}, env);
  assert.equal(clean.stdout, "nothing was left behind\n");
});

test("a journal is forgotten only where it was asked for", async () => {
  const vm = lab.vm("two01");
  await killRun(vm);
  const run = await cleanup(vm, "--discard-journals");
  assert.deepEqual(run.outcomes, ["snapshot removed", "run removed", "journal removed"]);
  const summary = await migrateWell(lab, vm);
  assert.equal(summary.disks[0]!.resumed, false);
  assert.equal(summary.disks[0]!.sync_type, "full");
});

test("snapshots of people, of other hosts and of whoever took our name are left alone", async () => {
  const vm = lab.vm("one01");
  const foreign = "00000000-0000-4000-8000-000000000000";
  for (const [name, description] of [
    ["before the upgrade", "by hand"],
    ["migratekit-by-hand", "a name is no proof"],
    [
      `migratekit-${foreign}`,
      `Temporary\nrun=${foreign} host=elsewhere/1234 pid=1 boot=x ticks=1 started=2026-01-01`,
    ],
  ] as const) {
    await vm.createSnapshot({ name, description, quiesced: false });
  }
  await killRun(lab.vm("two01"));
  const run = await cleanup(vm, "--all");
  assert.equal(run.code, 0, run.stderr);
  assert.equal(vm.snapshots.length, 3);
  assertNoSnapshot(lab.vm("two01"));
  for (const { moref } of [...vm.snapshots]) vm.removeSnapshot(moref);
});

test("a living run is not touched: alone it is refused, among all it is skipped", async () => {
  const vm = lab.vm("busy01");
  await killRun(lab.vm("one01"));
  await lab.vddk.setFaults({ hang_after: 0, only: "busy01" });
  const { child, result } = startCommand(lab, "migrate", vm, {}, env);
  await until("the copy began", () => hasJournal(lab, vm));
  assertFailure(await cleanup(vm), locked, /\[locked\].*process \d+/);
  const all = await cleanup(vm, "--all");
  assert.equal(all.code, 0, all.stderr);
  assert.match(all.vms?.find((one) => one.vm === vm.path)?.skipped ?? "", /Another run/);
  assertNoSnapshot(lab.vm("one01"));
  assert.equal(vm.snapshots.length, 1);
  assert.ok(readdirSync(env.TMPDIR).some((name) => name.includes(`-${child.pid}-`)));
  await lab.vddk.setFaults({});
  const run = await result;
  assert.equal(run.code, 0, run.stderr);
});

test("a snapshot that cannot be removed is said, and tried again by the next", async () => {
  const vm = lab.vm("one01");
  await killRun(vm);
  lab.vcenter.faults.add({ name: "removeFails", vm: "one01", count: 1 });
  const run = await cleanup(vm);
  assertFailure(run, vsphere, /\[vsphere-task-failed\].*1 snapshot could not be removed/);
  assert.equal(run.outcomes?.[0], "snapshot failed");
  assert.equal((await cleanup(vm)).outcomes?.[0], "snapshot removed");
  assertNoSnapshot(vm);
});

test("where nothing was ever run, a dry run makes no state directory", async () => {
  const stateDir = join(lab.dir, "never-made");
  const run = await cleanup(lab.vm("one01"), "--dry-run", "--state-dir", stateDir);
  assert.equal(run.code, 0, run.stderr);
  assert.ok(!existsSync(stateDir));
});
