import assert from "node:assert/strict";
import { test } from "node:test";
import { plannedAreasMax } from "../../src/progress/planned-space.ts";
import { ProgressTracker } from "../../src/progress/progress.ts";
import { Random } from "../random.ts";

const diskId = "disk-2000";

/** Sorted, disjoint areas within `capacityBytes`, at times touching. */
function randomAreas(random: Random, capacityBytes: number): [number, number][] {
  const areas: [number, number][] = [];
  for (let at = random.below(50); at < capacityBytes; ) {
    const length = Math.min(1 + random.below(90), capacityBytes - at);
    areas.push([at, length]);
    at += length + random.below(60);
  }
  return areas;
}

/** The chunks an engine might report: pieces of the areas, some with a rim that was not planned. */
function randomChunks(random: Random, areas: [number, number][]): [number, number, number][] {
  return areas.flatMap(([offset, length]) => {
    const chunks: [number, number, number][] = [];
    for (let done = 0; done < length; ) {
      const piece = Math.min(1 + random.below(40), length - done);
      const rim = random.below(4) === 0 ? random.below(8) : 0;
      chunks.push([offset + done, piece + rim, random.below(3)]);
      done += piece;
    }
    return chunks;
  });
}

test("Any order of chunks, with rims and doubles: exact, monotone, never above the plan, never 100 % early", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed);
    const areas = randomAreas(random, 3000);
    const planned = new Set(areas.flatMap(([o, l]) => Array.from({ length: l }, (_, i) => o + i)));
    const chunks = randomChunks(random, areas);
    for (let i = random.below(20); i > 0; i--) chunks.push(chunks[random.below(chunks.length)]!);
    random.shuffle(chunks);
    const tracker = new ProgressTracker({ now: () => 0 });
    tracker.addDisk({
      diskId,
      syncType: "incremental",
      plannedAreas: Float64Array.from(areas.flat()),
      capacityBytes: 3000,
    });
    const done = new Set<number>();
    let percentBefore = 0;
    for (const chunk of chunks) {
      tracker.onChunks(diskId, Float64Array.from(chunk));
      for (let i = 0; i < chunk[1]; i++) if (planned.has(chunk[0] + i)) done.add(chunk[0] + i);
      const { total, disks } = tracker.snapshot();
      assert.equal(total.transferredBytes, done.size, `seed ${seed}`);
      assert.equal(total.totalBytes, planned.size);
      assert.ok(total.percent >= percentBefore && total.percent <= 99);
      assert.ok(disks[0]!.percent <= 99);
      percentBefore = total.percent;
    }
    assert.equal(tracker.snapshot().total.transferredBytes, planned.size);
    tracker.finishDisk(diskId);
    assert.equal(tracker.snapshot().disks[0]!.percent, 100);
    assert.equal(tracker.snapshot().total.percent, planned.size === 0 ? 0 : 99);
    tracker.setStage("Complete");
    assert.equal(tracker.snapshot().total.percent, 100);
  }
});

test("A plan of more areas than are held still ends exactly at its total", () => {
  const count = plannedAreasMax + 5000;
  const areas = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) {
    areas[2 * i] = i * 1000;
    areas[2 * i + 1] = 500 - (i % 7);
  }
  const totalBytes = areas.reduce((sum, value, i) => (i % 2 === 1 ? sum + value : sum), 0);
  const tracker = new ProgressTracker();
  tracker.addDisk({
    diskId,
    syncType: "incremental",
    plannedAreas: areas,
    capacityBytes: count * 1000,
  });
  assert.equal(tracker.snapshot().total.totalBytes, totalBytes);
  for (let i = 0; i < count; i++) {
    tracker.onChunks(diskId, Float64Array.of(areas[2 * i]!, areas[2 * i + 1]!, 0));
  }
  assert.equal(tracker.snapshot().total.transferredBytes, totalBytes);
});

test("A resumed disk starts with what was done before and counts only what is left", () => {
  const tracker = new ProgressTracker({ now: () => 0 });
  const plan = { diskId, syncType: "full", plannedAreas: undefined, capacityBytes: 1000 } as const;
  tracker.addDisk({ ...plan, alreadyDoneBytes: 400 });
  assert.equal(tracker.snapshot().total.percent, 40);
  tracker.onChunks(diskId, Float64Array.of(400, 600, 0));
  assert.equal(tracker.snapshot().total.transferredBytes, 1000);
  // A resumed run copies some of the done part again; the sum still holds.
  tracker.onChunks(diskId, Float64Array.of(300, 100, 0));
  assert.equal(tracker.snapshot().total.transferredBytes, 1000);
});

test("A disk planned anew counts from zero, but the percentage shown does not go back", () => {
  const tracker = new ProgressTracker({ now: () => 0 });
  const areas = Float64Array.of(0, 100);
  tracker.addDisk({ diskId, syncType: "incremental", plannedAreas: areas, capacityBytes: 1000 });
  tracker.onChunks(diskId, Float64Array.of(0, 50, 0));
  assert.equal(tracker.snapshot().total.percent, 50);
  tracker.addDisk({
    diskId,
    syncType: "full",
    plannedAreas: undefined,
    capacityBytes: 1000,
    reason: "no",
  });
  const state = tracker.snapshot();
  assert.equal(state.total.transferredBytes, 0);
  assert.equal(state.total.percent, 50);
  assert.equal(state.disks[0]!.percent, 50);
  assert.equal(state.syncType, "full");
});

test("Rate and remaining time follow a steady source, and the rate falls to nothing when it stalls", () => {
  let nowMs = 5000;
  const tracker = new ProgressTracker({ now: () => nowMs });
  nowMs += 60_000; // a slow snapshot before the copying is no slowness of the copying
  tracker.addDisk({ diskId, syncType: "full", plannedAreas: undefined, capacityBytes: 100_000 });
  assert.equal(tracker.snapshot().total.etaSeconds, undefined);
  let offset = 0;
  for (let i = 0; i < 300; i++) {
    nowMs += 100;
    tracker.onChunks(diskId, Float64Array.of(offset, 100, 0));
    offset += 100;
    if (i > 60) {
      const { throughputBps, etaSeconds } = tracker.snapshot().total;
      assert.ok(Math.abs(throughputBps - 1000) < 60, `${throughputBps} B/s after ${i}`);
      assert.ok(Math.abs(etaSeconds! - (100_000 - offset) / 1000) < 8);
    }
  }
  nowMs += 11_000;
  assert.equal(tracker.snapshot().total.throughputBps, 0);
});

test("Two disks add up, and a finished disk waits at 100 % while the total does not", () => {
  const tracker = new ProgressTracker({ now: () => 0 });
  const full = { syncType: "full", plannedAreas: undefined, capacityBytes: 100 } as const;
  tracker.addDisk({ ...full, diskId: "disk-2000" });
  tracker.addDisk({ ...full, diskId: "disk-2001", syncType: "incremental", capacityBytes: 300 });
  tracker.onChunks("disk-2001", Float64Array.of(0, 100, 1, 100, 100, 2));
  tracker.finishDisk("disk-2000");
  const { total, disks, syncType } = tracker.snapshot();
  assert.deepEqual([total.transferredBytes, total.totalBytes, total.percent], [300, 400, 75]);
  assert.deepEqual(
    disks.map((disk) => disk.percent),
    [100, 66.6],
  );
  assert.equal(syncType, "full");
});

test("A run with nothing to copy stands below 100 % until it is complete", () => {
  const tracker = new ProgressTracker();
  tracker.addDisk({
    diskId,
    syncType: "incremental",
    plannedAreas: new Float64Array(0),
    capacityBytes: 10,
  });
  tracker.finishDisk(diskId);
  tracker.setStage("Finalize");
  assert.ok(tracker.snapshot().total.percent < 100);
  tracker.setStage("Complete");
  assert.equal(tracker.snapshot().total.percent, 100);
});

test("the rate tells what is read: holes bring the plan on, and count for the time left alone", () => {
  let nowMs = 0;
  const tracker = new ProgressTracker({ now: () => nowMs });
  tracker.addDisk({
    ...{ diskId: "disk-2000", syncType: "full", plannedAreas: undefined },
    capacityBytes: 100_000,
  });
  for (let quarter = 0; quarter < 40; quarter++) {
    nowMs += 250;
    const at = quarter * 2500;
    // 1000 bytes of data, 250 that were read and found to be zero, 1250 of a hole.
    const chunks = [at, 1000, 0, at + 1000, 250, 1, at + 1250, 1250, 2];
    tracker.onChunks("disk-2000", Float64Array.from(chunks));
    const { throughputBps, transferredBytes, etaSeconds } = tracker.snapshot().total;
    assert.ok(throughputBps <= 5000, `${throughputBps} B/s`);
    assert.equal(transferredBytes, (quarter + 1) * 2500);
    if (quarter === 19) assert.equal(etaSeconds, 5);
  }
  assert.equal(tracker.snapshot().total.throughputBps, 5000);
});
