import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunDisk } from "../../src/state/run-record.ts";
import { State } from "../../src/state/state.ts";
import type { VmHistory } from "../../src/state/sync-history.ts";
import { temporaryDirectory, vm } from "./helpers.ts";

const other = { ...vm, instanceUuid: "00000000-0000-0000-0000-00000000beef", vmPath: "/DC/vm/o" };

function ended(
  state: State,
  disks: readonly Partial<RunDisk>[],
  { command = "migrate", of = vm, status = "completed" as "completed" | "failed" } = {},
): void {
  const runId = state.runs.startRun(of, { command, version: "3.0.0", lockToken: "token" });
  for (const [index, disk] of disks.entries()) {
    state.runs.recordDisk(runId, 2000 + index, {
      ...{ syncType: "incremental", resumed: false, reason: "r", capacityBytes: 2 ** 30 },
      ...{ plannedBytes: 100, copiedBytes: 1, zeroedBytes: 0, skippedBytes: 0, retries: 0 },
      ...{ durationMs: 1, finished: true },
      ...disk,
    });
  }
  state.runs.finishRun(runId, { status });
}

test("syncs that were completed are read by VM, oldest first, with what their disks came to", (t) => {
  using state = State.open(temporaryDirectory(t));
  ended(state, [
    { syncType: "full", plannedBytes: 1000 },
    { syncType: "full", plannedBytes: 500 },
  ]);
  ended(state, [{ syncType: "full" }, {}]);
  ended(state, [{ resumed: true }]);
  ended(state, [{ plannedBytes: 7 }, { plannedBytes: 8 }], { command: "cutover" });
  ended(state, [{}], { command: "verify" });
  ended(state, [{}], { status: "failed" });
  ended(state, []);
  ended(state, [{ plannedBytes: 3 }], { of: other });
  const [first, second] = state.syncHistory();
  assert.equal(first!.vmPath, vm.vmPath);
  assert.deepEqual(
    first!.syncs.map(({ kind, plannedBytes, diskCount }) => [kind, plannedBytes, diskCount]),
    [
      ["full", 1500, 2],
      ["mixed", 200, 2],
      ["mixed", 100, 1],
      ["incremental", 15, 2],
    ],
  );
  for (const { startedAtMs, durationMs } of first!.syncs) {
    assert.ok(Math.abs(Date.now() - startedAtMs) < 60_000);
    assert.ok(durationMs > 0);
  }
  assert.deepEqual([second!.vmPath, second!.syncs.length], ["/DC/vm/o", 1]);
});

test("however many syncs there were, the newest of each kind are read", (t) => {
  using state = State.open(temporaryDirectory(t));
  ended(state, [{ syncType: "full", plannedBytes: 1 }]);
  for (let at = 0; at < 30; at++) ended(state, [{ plannedBytes: at }]);
  const { syncs }: VmHistory = state.syncHistory()[0]!;
  const expected = [1, ...Array.from({ length: 10 }, (_, at) => 20 + at)];
  assert.deepEqual(
    syncs.map(({ plannedBytes }) => plannedBytes),
    expected,
  );
});
