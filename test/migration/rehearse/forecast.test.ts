import assert from "node:assert/strict";
import { test } from "node:test";
import { forecastDowntime } from "../../../src/migration/rehearse/forecast.ts";
import type { RunRecord } from "../../../src/state/run-record.ts";

const disk = {
  ...{ deviceKey: 2000, syncType: "incremental" as const, resumed: false, reason: "" },
  ...{ capacityBytes: 1000, plannedBytes: 300, copiedBytes: 300, zeroedBytes: 0 },
  ...{ skippedBytes: 0, retries: 0, durationMs: 5, finished: true },
};
const run: RunRecord = {
  ...{ command: "migrate", version: "1", lockToken: "t", runId: "r", sequence: 1, pid: 1 },
  ...{ host: "h", startedAt: "2026-01-01T00:00:00.000Z", status: "completed", durationMs: 12_000 },
  ...{ stages: [], disks: [disk, { ...disk, deviceKey: 2001, plannedBytes: 40 }], snapshots: [] },
};
const full: RunRecord = { ...run, durationMs: 90_000, disks: [{ ...disk, syncType: "full" }] };
const measured = { conversionMs: 100_000, startMs: 60_000 };

test("a cutover takes the last sync, the conversion and the start, as each was measured", () => {
  assert.deepEqual(forecastDowntime([run, full], measured), {
    ...{ last_sync_ms: 12_000, delta_bytes: 340, conversion_ms: 100_000, start_ms: 60_000 },
    downtime_ms: 172_000,
  });
});

test("the newest sync of a delta counts, whatever came between", () => {
  const others: RunRecord[] = [
    { ...run, command: "rehearse", durationMs: 1, disks: [] },
    { ...run, status: "failed", durationMs: 2 },
    { ...run, durationMs: 3, disks: [{ ...disk, resumed: true }] },
    full,
  ];
  assert.equal(forecastDowntime([...others, run], measured).last_sync_ms, 12_000);
});

test("what was not measured is left out, and then there is no sum", () => {
  assert.deepEqual(forecastDowntime([full], measured), {
    conversion_ms: 100_000,
    start_ms: 60_000,
  });
  const notStarted = forecastDowntime([run], { conversionMs: 100_000, startMs: undefined });
  assert.deepEqual(notStarted, {
    ...{ last_sync_ms: 12_000, delta_bytes: 340, conversion_ms: 100_000 },
  });
});
