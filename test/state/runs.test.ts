import assert from "node:assert/strict";
import { test } from "node:test";
import { StateDatabase } from "../../src/state/database/database.ts";
import { isVmLocked, VmLock } from "../../src/state/lock/lock.ts";
import type { RunDisk } from "../../src/state/run-record.ts";
import { maxRunsPerVm, RunStore } from "../../src/state/runs.ts";
import { State } from "../../src/state/state.ts";
import { refusal, startFixture, temporaryDirectory, vm } from "./helpers.ts";

const disk: RunDisk = {
  syncType: "incremental",
  resumed: true,
  reason: "change ID is valid",
  capacityBytes: 2 ** 40,
  plannedBytes: 1000,
  copiedBytes: 900,
  zeroedBytes: 100,
  skippedBytes: 0,
  retries: 2,
  durationMs: 12.5,
  finished: true,
};
const start = { command: "migrate", version: "3.0.0", lockToken: "token" };

test("a run is read back with its stages, disks, snapshots and ending", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const runs = new RunStore(db);
  const runId = runs.startRun(vm, start);
  runs.recordStage(runId, "Discover", "2025-03-01T12:00:00.000Z", 3.5);
  runs.recordStage(runId, "Snapshot", "2025-03-01T11:00:00.000Z", 4.5); // the clock was set back
  runs.recordDisk(runId, 2000, { ...disk, copiedBytes: 1 });
  runs.recordDisk(runId, 2000, disk);
  runs.finishRun(runId, { status: "failed", errorCode: "target-io", message: "why" });
  runs.finishRun(runId, { status: "completed" });
  const [run] = runs.listRuns(vm);
  assert.ok(run);
  const { startedAt, durationMs, host, sequence, ...rest } = run;
  assert.deepEqual(rest, {
    ...start,
    runId,
    pid: process.pid,
    status: "failed",
    errorCode: "target-io",
    message: "why",
    stages: [
      { stage: "Discover", startedAt: "2025-03-01T12:00:00.000Z", durationMs: 3.5 },
      { stage: "Snapshot", startedAt: "2025-03-01T11:00:00.000Z", durationMs: 4.5 },
    ],
    disks: [{ deviceKey: 2000, ...disk }],
    snapshots: [],
  });
  assert.ok(durationMs !== undefined && durationMs >= 0);
  assert.ok(startedAt !== "" && host !== "" && sequence === 1);
});

test("runs are ordered by their start, whatever the clock says", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const runs = new RunStore(db);
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2030-01-01") });
  const first = runs.startRun(vm, start);
  t.mock.timers.setTime(Date.parse("2001-01-01"));
  const second = runs.startRun(vm, start);
  runs.finishRun(first, { status: "completed" });
  runs.finishRun(second, { status: "completed" });
  assert.deepEqual(
    runs.listRuns(vm).map((run) => run.runId),
    [second, first],
  );
  assert.ok(runs.listRuns(vm).every((run) => (run.durationMs ?? -1) >= 0));
  assert.equal(runs.listRuns(vm, 1).length, 1);
});

test("only completed runs are successful", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const runs = new RunStore(db);
  const ids = (["completed", "failed", "interrupted", "died"] as const).map((status) => {
    const runId = runs.startRun(vm, start);
    runs.finishRun(runId, { status });
    return runId;
  });
  runs.startRun(vm, start);
  assert.deepEqual(
    runs.lastSuccessfulRuns(vm).map((run) => run.runId),
    [ids[0]],
  );
});

test("a killed run is dead to whoever holds the lock after it, and a live one is not", async (t) => {
  const stateDir = temporaryDirectory(t);
  using db = StateDatabase.open(stateDir);
  const runs = new RunStore(db);
  const child = startFixture(t, "runner.ts", stateDir);
  const runId = await child.line();
  assert.deepEqual(runs.deadRuns(vm, isVmLocked(stateDir, vm.instanceUuid)), []);
  assert.deepEqual(runs.runsWithLeftoverSnapshots(vm, isVmLocked(stateDir, vm.instanceUuid)), []);
  refusal(() => VmLock.acquire(stateDir, vm.instanceUuid, vm), "locked");
  child.process.kill("SIGKILL");
  await child.ended();
  const unlocked = runs.deadRuns(vm, isVmLocked(stateDir, vm.instanceUuid));
  assert.deepEqual(
    [runId],
    unlocked.map((run) => run.runId),
  );

  using lock = VmLock.acquire(stateDir, vm.instanceUuid, vm);
  const own = runs.startRun(vm, { ...start, lockToken: lock.token });
  const [dead, ...others] = runs.deadRuns(vm, lock);
  assert.deepEqual(others, [], `${own} is alive`);
  assert.equal(dead?.runId, runId);
  assert.deepEqual(dead?.snapshots, [{ name: "intended" }, { name: "made", moref: "snapshot-7" }]);
  runs.finishSnapshot(dead.runId);
  runs.finishRun(dead.runId, { status: "died" });
  assert.deepEqual(runs.deadRuns(vm, lock), []);
  assert.deepEqual(runs.runsWithLeftoverSnapshots(vm, lock), []);
  const ended = runs.listRuns(vm).find((run) => run.runId === runId);
  assert.equal(ended?.status, "died");
  assert.equal(ended?.durationMs, undefined, "nobody has measured it");
});

test("a run is not dead while somebody unknown holds the lock", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const runs = new RunStore(db);
  runs.startRun(vm, start);
  assert.deepEqual(runs.deadRuns(vm, { token: "" }), []);
  assert.equal(runs.deadRuns(vm, { token: "another" }).length, 1);
  assert.equal(runs.deadRuns(vm, undefined).length, 1);
});

test("a snapshot that an ended run could not remove is found until it is gone", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const runs = new RunStore(db);
  const runId = runs.startRun(vm, start);
  runs.recordSnapshot(runId, { name: "a" });
  runs.recordSnapshot(runId, { name: "a", moref: "snapshot-1" });
  runs.recordSnapshot(runId, { name: "b" });
  runs.finishRun(runId, { status: "failed" });
  assert.deepEqual(runs.runsWithLeftoverSnapshots(vm, undefined)[0]?.snapshots, [
    { name: "a", moref: "snapshot-1" },
    { name: "b" },
  ]);
  runs.finishSnapshot(runId, "a");
  assert.deepEqual(runs.runsWithLeftoverSnapshots(vm, undefined)[0]?.snapshots, [{ name: "b" }]);
  runs.finishSnapshot(runId, "b");
  assert.deepEqual(runs.runsWithLeftoverSnapshots(vm, undefined), []);
});

test("the history is bounded, but keeps runs whose snapshot is still there", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const runs = new RunStore(db);
  const leftover = runs.startRun(vm, start);
  runs.recordSnapshot(leftover, { name: "a", moref: "snapshot-1" });
  runs.finishRun(leftover, { status: "failed" });
  for (let i = 0; i < maxRunsPerVm + 20; i++) {
    const runId = runs.startRun(vm, start);
    runs.recordDisk(runId, 2000, disk);
    runs.finishRun(runId, { status: "completed" });
  }
  const all = runs.listRuns(vm, 10_000);
  assert.equal(all.length, maxRunsPerVm + 1);
  assert.equal(all.at(-1)?.runId, leftover);
  const disks = db.view("Testing", () => db.get("SELECT count(*) AS n FROM run_disk"));
  assert.equal(disks?.number("n"), maxRunsPerVm, "their disks went with them");
});

test("the VM of a progress job is that of the last run under it", (t) => {
  using state = State.open(temporaryDirectory(t));
  const other = { ...vm, instanceUuid: "5029aaaa-0000-0000-0000-0d1f6a2b7c22", vmPath: "/DC/vm/b" };
  assert.equal(state.findVmOfJob("job-1"), undefined);
  state.runs.startRun(vm, { ...start, progressJob: "job-1" });
  state.runs.startRun(other, { ...start, progressJob: "job-2" });
  state.runs.startRun(other, start);
  assert.equal(state.findVmOfJob("job-1")?.vmPath, vm.vmPath);
  assert.equal(state.runs.listRuns(vm)[0]?.progressJob, "job-1");
  state.runs.startRun(other, { ...start, progressJob: "job-1" });
  assert.equal(state.findVmOfJob("job-1")?.vmPath, "/DC/vm/b");
});
