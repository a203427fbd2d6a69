import assert from "node:assert/strict";
import { test } from "node:test";
import { type DiskEnding, noFigures } from "../../../src/ending.ts";
import { estimateDowntime } from "../../../src/migration/cutover/downtime.ts";

const disk: DiskEnding = {
  ...noFigures,
  ...{ disk_id: "disk-2000", target: "localhost:1#a", reason: "", status: "completed" },
  ...{ sync_type: "incremental", resumed: false, change_id: "52/7", retries: 0 },
  ...{ capacity_bytes: 1e9, planned_bytes: 4e6, copied_bytes: 4e6, zeroed_bytes: 0 },
  ...{ skipped_bytes: 0, duration_ms: 2000 },
};
const stages = [
  { stage: "Snapshot", durationMs: 1000 },
  { stage: "Transfer", durationMs: 2000 },
];

test("the last sync takes as long as the one before: the delta's copy and the fixed steps", () => {
  const summary = { duration_ms: 5000, disks: [disk, { ...disk, planned_bytes: 1e6 }] };
  assert.deepEqual(estimateDowntime(summary, stages), {
    deltaBytes: 5e6,
    copyMs: 2000,
    fixedMs: 3000,
    totalMs: 5000,
  });
});

test("a full or resumed copy of a tracked disk tells nothing of the delta", () => {
  const after = (change: Partial<DiskEnding>) =>
    estimateDowntime({ duration_ms: 5000, disks: [disk, { ...disk, ...change }] }, stages);
  assert.equal(after({ sync_type: "full" }), undefined);
  assert.equal(after({ resumed: true }), undefined);
});

test("a disk that cannot be tracked is copied whole the last time, too, so its full copy tells", () => {
  const { change_id: _, ...untracked } = { ...disk, sync_type: "full" as const };
  const estimate = estimateDowntime({ duration_ms: 9000, disks: [untracked] }, stages);
  assert.equal(estimate?.totalMs, 9000);
});
