import assert from "node:assert/strict";
import { test } from "node:test";
import { inPieces, SamplePicker } from "../../../src/migration/cycle/samples.ts";
import { isNormal } from "../../../src/ranges.ts";

const mib = 1024 * 1024;

function chunksOf(capacityBytes: number, kind: number): number[][] {
  const chunks = [];
  for (let offset = 0; offset < capacityBytes; offset += mib) {
    chunks.push([offset, Math.min(mib, capacityBytes - offset), kind]);
  }
  return chunks;
}

const none = new Float64Array(0);

function pick(capacityBytes: number, chunks: number[][]): SamplePicker {
  const picker = new SamplePicker(capacityBytes);
  for (const chunk of chunks) picker.observe(Float64Array.from(chunk));
  return picker;
}

test("the same writes in any order give the same samples, spread over the disk", () => {
  const chunks = chunksOf(640 * mib, 0);
  const ranges = pick(640 * mib, chunks).data();
  assert.deepEqual(pick(640 * mib, chunks.toReversed()).data(), ranges);
  assert.ok(isNormal(ranges));
  assert.ok(ranges.length / 2 >= 60, `${ranges.length / 2} samples`);
});

test("zeroes and holes are picked apart from data", () => {
  const picker = pick(640 * mib, [...chunksOf(320 * mib, 1), [400 * mib, 200 * mib, 2]]);
  assert.deepEqual(picker.data(), none);
  const zeroes = picker.zeroes();
  assert.ok(zeroes.length / 2 >= 30 && zeroes.at(-2)! >= 400 * mib);
});

test("old samples stay where nothing new was written, but for large ones and those excepted", () => {
  const picker = pick(640 * mib, [[100 * mib, mib, 0]]);
  const sample = (offset: number, length = 65_536) => ({ offset, length, digest: "" });
  const old = [sample(101 * mib), sample(300 * mib), sample(400 * mib, mib), sample(500 * mib)];
  picker.keep(old, Float64Array.of(500 * mib, 4096));
  const offsets = [...picker.data()].filter((_, at) => at % 2 === 0);
  assert.equal(offsets.length, 2);
  assert.ok(offsets[0]! >= 100 * mib && offsets[0]! < 101 * mib);
  assert.equal(offsets[1], 300 * mib);
});

test("what is remembered is cut into pieces that cover the same bytes", () => {
  const pieces = inPieces(Float64Array.of(512, 600 * 1024, mib, 4096));
  const quarter = 256 * 1024;
  const [first, second, third] = [512, 512 + quarter, 512 + 2 * quarter];
  const rest = 600 * 1024 - 2 * quarter;
  assert.deepEqual([...pieces], [first, quarter, second, quarter, third, rest, mib, 4096]);
});
