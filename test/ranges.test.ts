import assert from "node:assert/strict";
import { test } from "node:test";
import * as extents from "../src/ranges.ts";
import { Random } from "./random.ts";

/**
 * Every function is compared with a model that is obviously right: one boolean per byte of a small
 * disk. Lists are random; the seed is fixed so that a failure can be repeated.
 */
const diskBytes = 96;
const rounds = 4000;
const random = new Random(20_250_906);

test("normalize keeps exactly the bytes of a list in any order, overlapping or empty", () => {
  for (let round = 0; round < rounds; round++) {
    const pairs = randomPairs();
    checkEqual(extents.normalize(pairs), bitmapOf(pairs));
  }
});

test("union holds a byte when either list does", () => {
  forPairs((a, b) =>
    checkEqual(
      extents.union(a, b),
      model((byte) => has(a, byte) || has(b, byte)),
    ),
  );
});

test("intersect holds a byte when both lists do", () => {
  forPairs((a, b) =>
    checkEqual(
      extents.intersect(a, b),
      model((byte) => has(a, byte) && has(b, byte)),
    ),
  );
});

test("subtract holds a byte of the first list that the second lacks", () => {
  forPairs((a, b) =>
    checkEqual(
      extents.subtract(a, b),
      model((byte) => has(a, byte) && !has(b, byte)),
    ),
  );
});

test("complement holds what the list lacks before the capacity", () => {
  forPairs((a) => {
    const capacity = random.below(diskBytes + 1);
    checkEqual(
      extents.complement(a, capacity),
      model((byte) => byte < capacity && !has(a, byte)),
    );
  });
});

test("merge holds what any of several lists holds, whatever their order", () => {
  for (let round = 0; round < rounds; round++) {
    const lists = Array.from({ length: random.below(4) }, randomPairs);
    checkEqual(
      extents.merge(lists),
      model((byte) => lists.some((pairs) => has(pairs, byte))),
    );
  }
});

test("coalesceSmallestGaps fills the smallest gaps, no more than it takes, and no other byte", () => {
  forPairs((a) => {
    const countMax = 1 + random.below(4);
    const joined = extents.coalesceSmallestGaps(a, countMax);
    const gaps = (list: Float64Array) => lengthsOf(extents.subtract(spanOf(list), list));
    assert.equal(joined.length / 2, Math.min(a.length / 2, countMax));
    assert.deepEqual(extents.intersect(joined, a), a);
    assert.deepEqual(spanOf(joined), spanOf(a));
    assert.deepEqual(gaps(joined), gaps(a).slice(Math.max(0, a.length / 2 - countMax)));
  });
});

test("findRangeFault finds what no range of a disk can be", () => {
  for (const [pairs, fault] of [
    [[1], /lacks its length/],
    [[-1, 2], /no range: -1\+2/],
    [[0, 0], /no range: 0\+0/],
    [[0.5, 1], /no range/],
    [[0, 97], /0\+97 is past 96/],
    [[90, 6, 0, 90], undefined],
  ] as const) {
    const found = extents.findRangeFault(Float64Array.from(pairs), diskBytes);
    if (fault === undefined) assert.equal(found, undefined);
    else assert.match(found ?? "", fault);
  }
});

test("totalBytes counts the bytes of the list", () => {
  forPairs((a) => {
    const bitmap = bitmapOf(a);
    assert.equal(extents.totalBytes(a), bitmap.filter(Boolean).length);
  });
});

test("no function changes its arguments", () => {
  forPairs((a, b) => {
    const [copyA, copyB] = [a.slice(), b.slice()];
    extents.union(a, b);
    extents.intersect(a, b);
    extents.subtract(a, b);
    extents.complement(a, diskBytes);
    extents.coalesceSmallestGaps(a, 2);
    extents.normalize(a);
    extents.merge([b, a]);
    assert.deepEqual([a, b], [copyA, copyB]);
  });
});

test("offsets of disks of 62 TiB keep their exact value", () => {
  const capacity = 62 * 2 ** 40 + 512;
  const tail = Float64Array.of(capacity - 512, 512);
  assert.deepEqual(extents.complement(tail, capacity), Float64Array.of(0, 62 * 2 ** 40));
  assert.deepEqual(
    extents.merge([tail, Float64Array.of(0, 512)]),
    Float64Array.of(0, 512, ...tail),
  );
});

test("a list that is no list of byte ranges is refused", () => {
  for (const pairs of [[1], [-1, 2], [0.5, 1], [0, Number.NaN], [2 ** 53, 1], [2 ** 53 - 1, 2]]) {
    assert.throws(() => extents.normalize(Float64Array.from(pairs)), RangeError);
  }
});

test("isNormal tells normal lists from all others", () => {
  for (const pairs of [[0, 1, 1, 1], [2, 1, 0, 1], [0, 0], [0, 4, 2, 1], [-1, 2], [3]]) {
    assert.equal(extents.isNormal(Float64Array.from(pairs)), false, String(pairs));
  }
  assert.equal(extents.isNormal(new Float64Array(0)), true);
  assert.equal(extents.isNormal(Float64Array.of(0, 1, 2, 1)), true);
});

test("half a million extents are merged in linear time", () => {
  const count = 500_000;
  const even = new Float64Array(2 * count).map((_, at) => (at % 2 === 0 ? at * 65_536 : 65_536));
  const odd = even.map((value, at) => (at % 2 === 0 ? value + 65_536 : value));
  const startedMs = performance.now();
  assert.deepEqual(extents.union(even, odd), Float64Array.of(0, 2 * count * 65_536));
  assert.equal(extents.intersect(even, odd).length, 0);
  assert.deepEqual(extents.subtract(even, odd), even);
  assert.deepEqual(extents.complement(even, 2 * count * 65_536), odd);
  // A quadratic merge would take minutes; this takes some tens of milliseconds.
  assert.ok(performance.now() - startedMs < 20_000);
});

function forPairs(check: (a: Float64Array, b: Float64Array) => void): void {
  for (let round = 0; round < rounds; round++) {
    check(extents.normalize(randomPairs()), extents.normalize(randomPairs()));
  }
}

function randomPairs(): Float64Array {
  const pairs: number[] = [];
  for (let count = random.below(9); count > 0; count--) {
    const offset = random.below(diskBytes);
    pairs.push(offset, random.below(Math.min(20, diskBytes - offset) + 1));
  }
  return Float64Array.from(pairs);
}

function checkEqual(actual: Float64Array, expected: boolean[]): void {
  assert.ok(extents.isNormal(actual), `not normal: ${actual}`);
  assert.deepEqual(bitmapOf(actual), expected);
}

function bitmapOf(pairs: Float64Array): boolean[] {
  const bitmap = new Array<boolean>(diskBytes).fill(false);
  for (let at = 0; at < pairs.length; at += 2) {
    bitmap.fill(true, pairs[at]!, pairs[at]! + pairs[at + 1]!);
  }
  return bitmap;
}

function model(holds: (byte: number) => boolean): boolean[] {
  return Array.from({ length: diskBytes }, (_, byte) => holds(byte));
}

function has(pairs: Float64Array, byte: number): boolean {
  for (let at = 0; at < pairs.length; at += 2) {
    if (byte >= pairs[at]! && byte < pairs[at]! + pairs[at + 1]!) return true;
  }
  return false;
}

/** From the first byte of the list to its last, as one range. */
function spanOf(pairs: Float64Array): Float64Array {
  if (pairs.length === 0) return pairs;
  return Float64Array.of(pairs[0]!, pairs.at(-2)! + pairs.at(-1)! - pairs[0]!);
}

/** Shortest first. */
function lengthsOf(pairs: Float64Array): Float64Array {
  return pairs.filter((_, at) => at % 2 === 1).sort();
}
