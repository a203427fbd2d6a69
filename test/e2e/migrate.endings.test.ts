import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CliResult, type CliRun, startCli } from "../lab/run-cli.ts";
import { until } from "../until.ts";
import {
  assertEqualTargets,
  assertFailure,
  assertNoSnapshot,
  migrateWell,
} from "./migrate-checks.ts";
import { lab, vm } from "./my-vm.ts";

/** Slow enough that every stage can be hit, whatever the machine's load. */
const slowReads = { delay_us: 400_000, aio_threads: 1 };

let runNumber = 0;
function start(extra: string[] = []): CliRun & { jobId: string } {
  runNumber++;
  const jobId = `ending-${runNumber}`;
  return { ...startCli({ args: lab.migrateArgs(vm, { jobId, extra }) }), jobId };
}

const untilStage = (jobId: string, stage: string) =>
  until(`${jobId} came to ${stage}`, () =>
    lab.vma.updatesOf(jobId).some(({ body }) => body.stage === stage),
  );

const untilCopying = (jobId: string) =>
  until(`${jobId} copies`, () => {
    const newest = lab.vma.updatesOf(jobId).at(-1)?.body;
    return newest?.stage === "Transfer" && newest.bytes_transferred > 0;
  });

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  test(`${signal} in mid-copy: polite end, snapshot removed, one last failed update, death by it`, async () => {
    await lab.vddk.setFaults(slowReads);
    const run = start(["--full"]);
    await untilCopying(run.jobId);
    run.child.kill(signal);
    const result = await run.result;
    assert.equal(result.signal, signal, result.stderr);
    assertNoSnapshot(vm);
    const last = lab.vma.updatesOf(run.jobId).at(-1)!.body;
    assert.equal(last.status, "failed");
    assert.match(last.error_message ?? "", new RegExp(signal));
    assert.doesNotMatch(result.stderr, /error \[bug\]/);
  });
}

interface Ending {
  status: string;
  error?: { code: string; message: string };
}

/** What everybody who is told of a run's ending is told. */
async function endings(result: CliResult, jobId: string) {
  const args = ["history", "--state-dir", lab.stateDir, "--vmware-path", vm.path, "--json"];
  const history = JSON.parse((await startCli({ args }).result).stdout) as {
    vms: { runs: { status: string; error_code?: string }[] }[];
  };
  const { status, error } = JSON.parse(result.stdout) as Ending;
  const [newest] = history.vms[0]!.runs;
  return {
    exit: result.signal ?? result.code,
    json: error === undefined ? status : `${status} [${error.code}]`,
    vma: lab.vma.updatesOf(jobId).at(-1)?.body.status,
    history:
      newest?.error_code === undefined ? newest?.status : `${newest.status} [${newest.error_code}]`,
  };
}

/** Starts a run whose snapshot's removal takes a while, and signals it then. */
async function signalAtRemoval(extra: string[]): Promise<CliRun & { jobId: string }> {
  const run = start([...extra, "--json"]);
  const removals = () =>
    lab.vcenter.log.calls.filter(({ method }) => method === "RemoveSnapshot_Task").length;
  const before = removals();
  await untilStage(run.jobId, "QueryCBT");
  lab.vcenter.faults.add({ name: "slowTasks", value: 3000, count: 1 });
  await until("the snapshot is being removed", () => removals() > before);
  run.child.kill("SIGTERM");
  return run;
}

test("a signal that comes when all is copied takes nothing back: the run completed, for everybody", async () => {
  const run = await signalAtRemoval(["--full"]);
  const result = await run.result;
  assert.deepEqual(await endings(result, run.jobId), {
    exit: 0,
    json: "completed",
    vma: "completed",
    history: "completed",
  });
  await assertEqualTargets(lab, vm);
  assertNoSnapshot(vm);
});

test("a signal that comes when a run has failed does not hide what failed", async () => {
  await lab.vddk.setFaults({ nfc_refuse: 1 });
  const run = await signalAtRemoval([]);
  const result = await run.result;
  assert.deepEqual(await endings(result, run.jobId), {
    exit: 4,
    json: "failed [source-unreachable]",
    vma: "failed",
    history: "failed [source-unreachable]",
  });
  assertNoSnapshot(vm);
});

test("a run that a signal ended in mid-copy was interrupted, for everybody", async () => {
  await lab.vddk.setFaults(slowReads);
  const run = start(["--full", "--json"]);
  await untilCopying(run.jobId);
  run.child.kill("SIGTERM");
  assert.deepEqual(await endings(await run.result, run.jobId), {
    exit: "SIGTERM",
    json: "interrupted [interrupted]",
    vma: "failed",
    history: "interrupted",
  });
});

test("SIGTERM while the snapshot is being made leaves none behind", async () => {
  lab.vcenter.faults.add({ name: "slowSnapshot", value: 3000, count: 1 });
  const run = start();
  await untilStage(run.jobId, "Snapshot");
  run.child.kill("SIGTERM");
  assert.equal((await run.result).signal, "SIGTERM");
  assertNoSnapshot(vm);
});

test("a second signal ends the run at once, and the next run cleans up and ends equal", async () => {
  await lab.vddk.setFaults({ hang_after: 3 });
  const run = start(["--full"]);
  await untilStage(run.jobId, "Transfer");
  lab.vcenter.faults.add({ name: "delayMs", value: 5000 });
  run.child.kill("SIGTERM");
  await sleep(200);
  const askedAt = performance.now();
  run.child.kill("SIGTERM");
  assert.equal((await run.result).signal, "SIGTERM");
  assert.ok(performance.now() - askedAt < 4000);
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
  await migrateWell(lab, vm);
});

test("after kill -9 in mid-copy the next run resumes, although the guest went on writing", async () => {
  await migrateWell(lab, vm, { extra: ["--full"] });
  await lab.vddk.setFaults({ delay_us: 400_000, aio_threads: 1 });
  const run = start(["--full", "--source-connections", "1"]);
  await untilCopying(run.jobId);
  await sleep(5000); // a checkpoint is made every 3 s
  run.child.kill("SIGKILL");
  await run.result;
  assert.equal(vm.snapshots.length, 1, "the dead run's snapshot is there");
  await lab.vddk.setFaults({});
  await vm.randomWrites(2000, { seed: 31, writes: 12 });
  const summary = await migrateWell(lab, vm);
  assert.equal(summary.disks[0]!.resumed, true, summary.disks[0]!.reason);
  assert.match(summary.log, /removing the snapshot of a run that died/);
});

test("of two runs started together one works, the other exits with the lock code and names it", async () => {
  await lab.vddk.setFaults({ delay_us: 20_000 });
  const runs = [start(), start()];
  const results = await Promise.all(runs.map((run) => run.result));
  const [winner, loser] = results.sort((a, b) => (a.code ?? 0) - (b.code ?? 0));
  assert.equal(winner!.code, 0, winner!.stderr);
  assertFailure(loser!, 7, /\[locked\].*process \d+ on .*started/);
});

test("another's snapshot stays, and a user's snapshot in the chain does no harm", async () => {
  await vm.createSnapshot({ name: "before the update", description: "mine", quiesced: false });
  const summary = await lab.migrate(vm, { extra: ["--json"] });
  assert.equal(summary.code, 0, summary.stderr);
  assert.deepEqual(
    vm.snapshots.map(({ name }) => name),
    ["before the update"],
  );
  vm.removeSnapshot(vm.snapshots[0]!.moref);
});

test("the VM's power state is never touched", () => {
  const power = /^(PowerOn|PowerOff|Shutdown|Suspend|Reset|Reboot|Standby)/;
  assert.deepEqual(
    lab.vcenter.log.calls.map(({ method }) => method).filter((method) => power.test(method)),
    [],
  );
});
