import assert from "node:assert/strict";
import { test } from "node:test";
import { PlannedSpace } from "../src/progress/planned-space.ts";
import { ExtentCollector, RangeSet } from "../src/range-set.ts";
import { coalesceSmallestGaps } from "../src/ranges.ts";
import { Random } from "./random.ts";

test("A range added in any pieces, order and overlap counts each byte once", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const set = new RangeSet();
    const seen = new Uint8Array(400);
    for (let round = 0; round < 60; round++) {
      const start = random.below(400);
      const end = Math.min(400, start + random.below(40));
      const fresh = seen.subarray(start, end).filter((byte) => byte === 0).length;
      assert.equal(set.add(start, end), fresh, `seed ${seed} round ${round}`);
      seen.fill(1, start, end);
    }
  }
});

test("Neighbours become one range", () => {
  const set = new RangeSet();
  set.add(10, 20);
  set.add(30, 40);
  assert.equal(set.size, 2);
  set.add(20, 30);
  assert.equal(set.size, 1);
});

test("The number of ranges stays bounded, and a sum never ends above the truth", () => {
  const set = new RangeSet(100);
  let added = 0;
  const starts = new Random(3).shuffle(Array.from({ length: 5000 }, (_, i) => i * 10));
  for (const start of starts) {
    added += set.add(start, start + 4);
    assert.ok(set.size <= 100);
  }
  assert.ok(added > 0 && added <= 5000 * 4);
});

test("The smallest gaps are given up first, and equal ones no more than needed", () => {
  const joined = coalesceSmallestGaps(Float64Array.of(0, 10, 11, 9, 30, 10, 45, 5), 2);
  assert.deepEqual([...joined], [0, 20, 30, 20]);
  const equal = coalesceSmallestGaps(Float64Array.of(0, 10, 20, 10, 40, 10, 60, 10), 3);
  assert.equal(equal.length / 2, 3);
});

test("A position in the plan is the number of planned bytes before it", () => {
  const space = new PlannedSpace(Float64Array.of(10, 5, 20, 10), 100);
  assert.equal(space.totalBytes, 15);
  const positions = [0, 10, 12, 15, 18, 20, 25, 30, 100].map((at) => space.positionOf(at));
  assert.deepEqual(positions, [0, 0, 2, 5, 5, 5, 10, 15, 15]);
  assert.equal(new PlannedSpace(undefined, 100).positionOf(60), 60);
  assert.equal(new PlannedSpace(new Float64Array(0), 100).totalBytes, 0);
});

test("Pages are joined in order, neighbours become one extent", () => {
  const collector = new ExtentCollector();
  collector.add(Float64Array.of(0, 10, 20, 10));
  collector.add(Float64Array.of(30, 5, 100, 1));
  assert.deepEqual([...collector.finish()], [0, 10, 20, 15, 100, 1]);
});

test("Pages that go back are a mistake that is not hidden", () => {
  const collector = new ExtentCollector();
  collector.add(Float64Array.of(100, 10));
  assert.throws(() => collector.add(Float64Array.of(50, 10)), RangeError);
});

test("Beyond the limit extents grow, so that nothing is lost and memory stays bounded", () => {
  const block = 65_536;
  const collector = new ExtentCollector(64);
  const original: number[][] = [];
  for (let i = 0; i < 5000; i++) {
    const extent = [i * 4 * block + (i % 7) * 512, 512];
    original.push(extent);
    collector.add(Float64Array.from(extent));
  }
  const collected = collector.finish();
  assert.ok(collected.length / 2 <= 64, `${collected.length / 2} extents`);
  for (const [offset, length] of original) {
    const covering = collected.findIndex(
      (start, i) =>
        i % 2 === 0 && start <= offset! && start + collected[i + 1]! >= offset! + length!,
    );
    assert.ok(covering >= 0, `extent at ${offset} is covered`);
  }
});
