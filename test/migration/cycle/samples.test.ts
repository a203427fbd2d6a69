import assert from "node:assert/strict";
import { test } from "node:test";
import { SamplePicker } from "../../../src/migration/cycle/samples.ts";

const mib = 1024 * 1024;

function chunksOf(capacityBytes: number, kind: number): number[][] {
  const chunks = [];
  for (let offset = 0; offset < capacityBytes; offset += mib) {
    chunks.push([offset, Math.min(mib, capacityBytes - offset), kind]);
  }
  return chunks;
}

function pick(capacityBytes: number, chunks: number[][]): Float64Array {
  const picker = new SamplePicker(capacityBytes);
  for (const chunk of chunks) picker.observe(Float64Array.from(chunk));
  return picker.ranges();
}

test("the same writes in any order give the same samples, spread over the disk", () => {
  const chunks = chunksOf(640 * mib, 0);
  const ranges = pick(640 * mib, chunks);
  assert.deepEqual(pick(640 * mib, chunks.toReversed()), ranges);
  assert.ok(ranges.length / 2 >= 60, `${ranges.length / 2} samples`);
});

test("the first and the last MiB are always sampled, and samples never overlap", () => {
  for (const capacityBytes of [512, mib, mib + 512, 3 * mib - 512, 200 * mib + 4096]) {
    const ranges = pick(capacityBytes, chunksOf(capacityBytes, 0));
    assert.equal(ranges[0], 0);
    let end = 0;
    for (let i = 0; i < ranges.length; i += 2) {
      assert.ok(ranges[i]! >= end);
      end = ranges[i]! + ranges[i + 1]!;
    }
    assert.equal(end, capacityBytes);
  }
});

test("zeroes and holes are no samples, and old samples stay where nothing new was written", () => {
  const picker = new SamplePicker(640 * mib);
  picker.observe(Float64Array.from(chunksOf(640 * mib, 1).flat()));
  assert.equal(picker.ranges().length, 4);
  picker.keep([{ offset: 300 * mib, length: 65_536 }]);
  assert.deepEqual([...picker.ranges().slice(2, 4)], [300 * mib, 65_536]);
});
