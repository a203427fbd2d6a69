import assert from "node:assert/strict";
import { test } from "node:test";
import { coalesceSmallestGaps, IntervalSet } from "../../src/progress/interval-set.ts";
import { PlannedSpace } from "../../src/progress/planned-space.ts";
import { Random } from "../random.ts";

test("A range added in any pieces, order and overlap counts each byte once", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const set = new IntervalSet();
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
  const set = new IntervalSet();
  set.add(10, 20);
  set.add(30, 40);
  assert.equal(set.size, 2);
  set.add(20, 30);
  assert.equal(set.size, 1);
});

test("The number of ranges stays bounded, and a sum never ends above the truth", () => {
  const set = new IntervalSet(100);
  let added = 0;
  const starts = new Random(3).shuffle(Array.from({ length: 5000 }, (_, i) => i * 10));
  for (const start of starts) {
    added += set.add(start, start + 4);
    assert.ok(set.size <= 100);
  }
  assert.ok(added > 0 && added <= 5000 * 4);
});

test("The smallest gaps are given up first, and equal ones no more than needed", () => {
  const joined = coalesceSmallestGaps([0, 11, 30, 45], [10, 20, 40, 50], 2);
  assert.deepEqual(joined, { starts: [0, 30], ends: [20, 50] });
  const equal = coalesceSmallestGaps([0, 20, 40, 60], [10, 30, 50, 70], 3);
  assert.equal(equal.starts.length, 3);
});

test("A position in the plan is the number of planned bytes before it", () => {
  const space = new PlannedSpace(Float64Array.of(10, 5, 20, 10), 100);
  assert.equal(space.totalBytes, 15);
  const positions = [0, 10, 12, 15, 18, 20, 25, 30, 100].map((at) => space.positionOf(at));
  assert.deepEqual(positions, [0, 0, 2, 5, 5, 5, 10, 15, 15]);
  assert.equal(new PlannedSpace(undefined, 100).positionOf(60), 60);
  assert.equal(new PlannedSpace(new Float64Array(0), 100).totalBytes, 0);
});
