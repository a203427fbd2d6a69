import assert from "node:assert/strict";
import { test } from "node:test";
import { PlainProgress } from "../../src/progress/plain.ts";
import { ProgressTracker } from "../../src/progress/progress.ts";
import { until } from "../until.ts";
import { captureLogger } from "./helpers.ts";

test("In a pipe there is one line for each stage, however often its detail changes", () => {
  const { logger, lines } = captureLogger();
  const tracker = new ProgressTracker();
  using plain = new PlainProgress({ logger });
  plain.start(() => tracker.snapshot());
  for (const percent of [10, 50, 90]) {
    tracker.setStage("Snapshot", `creating the snapshot, ${percent} %`);
    plain.stageChanged();
  }
  tracker.addDisk({
    diskId: "disk-2000",
    syncType: "incremental",
    plannedAreas: Float64Array.of(0, 1024),
    capacityBytes: 4096,
  });
  for (const stage of ["Transfer", "Finalize", "Complete"] as const) {
    if (stage === "Finalize") tracker.onChunks("disk-2000", Float64Array.of(0, 1024, 0));
    tracker.setStage(stage);
    plain.stageChanged();
  }
  assert.deepEqual(
    lines.map((line) => line.msg),
    [
      "Discover",
      "Snapshot: creating the snapshot, 10 %",
      "Transfer: 0 %, 0.0/1.0 KiB",
      "Finalize",
      "Complete",
    ],
  );
  assert.equal(lines[2]!.plannedBytes, 1024);
});

test("Work without disks, such as a conversion, shows what it does and no figures", () => {
  const { logger, lines } = captureLogger();
  const tracker = new ProgressTracker();
  using plain = new PlainProgress({ logger });
  plain.start(() => tracker.snapshot());
  tracker.setStage("Transfer", "converting the guest");
  plain.stageChanged();
  assert.equal(lines.at(-1)!.msg, "Transfer: converting the guest");
});

test("A long stage has a line every interval, and none after the stop", async () => {
  const { logger, lines } = captureLogger();
  const tracker = new ProgressTracker();
  tracker.addDisk({
    diskId: "disk-2000",
    syncType: "full",
    plannedAreas: undefined,
    capacityBytes: 1000,
  });
  tracker.setStage("Transfer");
  const plain = new PlainProgress({ logger, intervalMs: 10 });
  plain.start(() => tracker.snapshot());
  tracker.onChunks("disk-2000", Float64Array.of(0, 500, 0));
  // The interval's timer alone must not keep a process alive; here the wait does.
  await until("three lines", () => lines.length >= 3);
  assert.match(lines.at(-1)!.msg, /^Transfer: 50 %, 500\/1\.0 KiB|^Transfer: 50 %, 0\.4\/1\.0 KiB/);
  plain.stop();
  const count = lines.length;
  plain.stageChanged();
  assert.equal(lines.length, count);
});
