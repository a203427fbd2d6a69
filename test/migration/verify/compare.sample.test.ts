import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleAreas } from "../../../src/migration/verify/compare.ts";
import { isNormal, subtract, totalBytes, whole } from "../../../src/ranges.ts";

const mebibyte = 1 << 20;

test("a sample is sorted, aligned, within its areas, and holds both ends of the disk", () => {
  for (const capacityBytes of [512, 65_536, 3 * mebibyte - 512, 10 * 1024 * mebibyte + 1536]) {
    for (const random of [() => 0, () => 0.5, () => 0.999_999, Math.random]) {
      const sample = sampleAreas(whole(capacityBytes), capacityBytes, random);
      assert.ok(isNormal(sample));
      assert.equal(totalBytes(subtract(sample, whole(capacityBytes))), 0);
      assert.ok(sample.every((value) => value % 512 === 0));
      assert.equal(sample[0], 0);
      assert.equal(sample.at(-2)! + sample.at(-1)!, capacityBytes);
      assert.ok(totalBytes(sample) <= 2 * mebibyte + 256 * 65_536);
    }
  }
});

test("nothing outside of the areas is sampled", () => {
  const areas = Float64Array.of(5 * mebibyte, mebibyte);
  const sample = sampleAreas(areas, 512 * mebibyte, Math.random);
  assert.equal(totalBytes(subtract(sample, areas)), 0);
});
