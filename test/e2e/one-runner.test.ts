// A VM has one runner, wherever it runs: a second state directory stands for another user or appliance.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { hasJournal, runCommand } from "./cli-commands.ts";
import {
  assertEqualTargets,
  assertFailure,
  assertNoSnapshot,
  migrateWell,
} from "./migrate-checks.ts";

const mebibyte = 1 << 20;
const fill = { seed: 3, dataRatio: 0.6, zeroRatio: 0.1 };
/** Long enough for a second run to come, whatever the load; the reads after the next setting are quick. */
const slowReads = { delay_us: 5_000_000, aio_threads: 1 };

let lab: Lab;
let vm: LabVm;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: ["wanted", "spare"].map((name) => ({
      ...{ name, disks: [{ capacityBytes: 6 * mebibyte, fill }] },
    })),
  });
  vm = lab.vm("wanted");
  await migrateWell(lab, vm);
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
  for (const { moref } of [...vm.snapshots]) vm.removeSnapshot(moref);
});

/** Another volume, as another appliance would reach it: on one host the target's lock comes first. */
const toSpare = () => {
  const { exportUri } = lab.targets.disksOf(lab.vm("spare"))[0]!;
  return ["--nbd-targets", `2000:${exportUri}`];
};
const elsewhere = () => ["--state-dir", join(lab.dir, "state-elsewhere")];

const started: CliRun[] = [];
afterEach(() => {
  for (const { child } of started) child.kill("SIGKILL");
});

function start(extra: readonly string[] = [], within: readonly string[] = []): CliRun {
  const run = startCli({ args: lab.migrateArgs(vm, { extra: ["--json", ...extra] }), within });
  started.push(run);
  return run;
}

/** The first run has its snapshot and is at work. */
async function working(extra: readonly string[] = [], within?: readonly string[]): Promise<CliRun> {
  await lab.vddk.setFaults(slowReads);
  const run = start(["--full", ...extra], within);
  await until("the first run has its snapshot", () => vm.snapshots.length > 0);
  return run;
}

/** The run that a snapshot on the VM belongs to. */
function runOnVm(): string {
  return vm.snapshots[0]!.name.replace("migratekit-", "");
}

const inContainer = [
  ...["unshare", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])],
  ...["--pid", "--fork", "--mount-proc", "--kill-child"],
];
const firstRuns: [who: string, extra: () => string[], within?: string[]][] = [
  ["another state directory", elsewhere],
  ["another PID namespace", elsewhere, inContainer],
];
for (const [who, extra, within] of firstRuns) {
  test(`a run from ${who} is not disturbed: the second is refused and names it`, async () => {
    const first = await working(extra(), within);
    const second = await lab.migrate(vm, { extra: toSpare() });
    assertFailure(
      second,
      7,
      /\[locked\].*another run works on wanted.*process \d+ on \S+, started 20/,
    );
    assert.ok(second.stderr.includes(runOnVm()), second.stderr);
    await lab.vddk.setFaults({});
    const { code, stderr } = await first.result;
    assert.equal(code, 0, stderr);
    await assertEqualTargets(lab, vm);
    assertNoSnapshot(vm);
  });
}

test("check says that another run works on the VM", async () => {
  const first = await working(elsewhere());
  const run = await runCommand(lab, "check", vm, { extra: ["--json"] });
  assert.equal(run.code, 7, run.stdout);
  assert.match(run.stdout, /another run works on wanted/);
  await lab.vddk.setFaults({});
  assert.equal((await first.result).code, 0);
});

test("of two runs that make their snapshots at the same time the later one yields", async () => {
  lab.vcenter.faults.add({ name: "slowSnapshot", value: 1500, count: 2 });
  await lab.vddk.setFaults(slowReads);
  const runs = [start(["--full"]), start(["--full", ...elsewhere(), ...toSpare()])];
  await Promise.race(runs.map(({ result }) => result));
  await lab.vddk.setFaults({});
  const results = await Promise.all(runs.map(({ result }) => result));
  assert.equal(
    results.filter(({ code }) => code === 0).length,
    1,
    results.map((r) => r.stderr).join(),
  );
  const loser = results.find(({ code }) => code !== 0)!;
  assert.equal(loser.code, 7, loser.stderr);
  await assertEqualTargets(lab, vm);
  assertNoSnapshot(vm);
});

test("a clone of this appliance is another: its snapshot is not taken for a dead run's", async () => {
  const first = await working();
  const { description } = vm.snapshots[0]!;
  await lab.vddk.setFaults({});
  await first.result;
  const runId = "00000000-0000-4000-8000-000000000001";
  const ofClone = description
    .replace(/run=\S+/, `run=${runId}`)
    .replace(/boot=\S+/, "boot=00000000-0000-4000-8000-000000000002");
  await vm.createSnapshot({ name: `migratekit-${runId}`, description: ofClone, quiesced: false });
  assertFailure(await lab.migrate(vm), 7, new RegExp(`\\[locked\\].*${runId}`));
  assert.equal(vm.snapshots.length, 1);
});

test("a redeployed appliance's leftover is kept until cleanup is told its run", async () => {
  const lost = await working(elsewhere());
  lost.child.kill("SIGKILL");
  await lost.result;
  await lab.vddk.setFaults({});
  const runId = runOnVm();
  assertFailure(await lab.migrate(vm), 7, /\[locked\]/, new RegExp(`cleanup --foreign ${runId}`));

  const cleanup = (...extra: string[]) =>
    runCommand(lab, "cleanup", vm, { extra: ["--json", ...extra] });
  const looked = await cleanup();
  assert.equal(looked.code, 0, looked.stderr);
  assert.match(looked.stdout, /"outcome":"kept","reason":"of run \S+ of process \d+ on .* old/);
  assertFailure(await cleanup("--foreign", "nobody"), 2, /--foreign: no snapshot of run nobody/);
  assertFailure(await cleanup("--foreign", "all"), 2, /no terminal to ask/);
  assert.equal(vm.snapshots.length, 1);
  const removed = await cleanup("--foreign", runId);
  assert.equal(removed.code, 0, removed.stderr);
  assertNoSnapshot(vm);
  await migrateWell(lab, vm);
});

test("cleanup --foreign all --yes removes every run's snapshot, and no user's", async () => {
  const lost = await working(elsewhere());
  lost.child.kill("SIGKILL");
  await lost.result;
  await lab.vddk.setFaults({});
  await vm.createSnapshot({ name: "mine", description: "", quiesced: false });
  const run = await runCommand(lab, "cleanup", vm, { extra: ["--foreign", "all", "--yes"] });
  assert.equal(run.code, 0, run.stderr);
  assert.deepEqual(
    vm.snapshots.map(({ name }) => name),
    ["mine"],
  );
});

test("a run whose snapshot is taken away makes no change ID true", async () => {
  const jobId = "taken-away";
  const run = await working(["--job-id", jobId, "--vma-url", lab.vma.url]);
  await until("it copies", () =>
    lab.vma.updatesOf(jobId).some(({ body }) => body.stage === "Transfer"),
  );
  await vm.randomWrites(2000, { seed: 8, writes: 4 });
  vm.removeSnapshot(vm.snapshots[0]!.moref);
  await lab.vddk.setFaults({});
  assertFailure(await run.result, 3, /\[snapshot-gone\]/);
  assert.ok(hasJournal(lab, vm), "the copy counts as unfinished");
  await migrateWell(lab, vm);
});
