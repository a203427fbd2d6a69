import assert from "node:assert/strict";
import { test } from "node:test";
import { ExtentCollector } from "../../src/range-collector.ts";

test("pages are joined in order, neighbours become one extent", () => {
  const collector = new ExtentCollector();
  collector.add(Float64Array.of(0, 10, 20, 10));
  collector.add(Float64Array.of(30, 5, 100, 1));
  assert.deepEqual([...collector.finish()], [0, 10, 20, 15, 100, 1]);
});

test("pages that go back are a mistake that is not hidden", () => {
  const collector = new ExtentCollector();
  collector.add(Float64Array.of(100, 10));
  assert.throws(() => collector.add(Float64Array.of(50, 10)), RangeError);
});

test("beyond the limit extents grow, so that nothing is lost and memory stays bounded", () => {
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
