/** Sets of byte ranges that grow, in bounded memory. */
import { coalesceSmallestGaps } from "./ranges.ts";

/** Past this many separate ranges the smallest gaps are given up. */
const rangesMaxDefault = 65_536;

/**
 * Takes ranges in any order. Past the limit the smallest gaps between them count as present without
 * having been added, so a sum of `add` results may end below the truth, never above it.
 */
export class RangeSet {
  /** Start, end, start, end …, ascending, all different; `#used` of them. */
  #edges = new Float64Array(64);
  #used = 0;
  readonly #rangesMax: number;

  constructor(rangesMax: number = rangesMaxDefault) {
    this.#rangesMax = rangesMax;
  }

  /** How many separate ranges it holds. */
  get size(): number {
    return this.#used / 2;
  }

  /** Where the last range ends; 0 where there is none. */
  get end(): number {
    return this.#used === 0 ? 0 : this.#edges[this.#used - 1]!;
  }

  /** Adds [start, end) and returns how many of its bytes were not in the set yet. */
  add(start: number, end: number): number {
    if (end <= start) return 0;
    const isLast = start > this.end;
    // Every edge of [start, end] goes: what the new range touches or overlaps becomes part of it.
    const from = isLast ? this.#used : firstAtLeast(this.#edges, start, this.#used);
    const to = isLast ? from : firstAbove(this.#edges, end, this.#used);
    let addedBytes = end - start;
    for (let at = from - (from % 2); at < to; at += 2) {
      const overlap = Math.min(end, this.#edges[at + 1]!) - Math.max(start, this.#edges[at]!);
      addedBytes -= Math.max(0, overlap);
    }
    // An odd index is the end of a range: there the new one begins, or ends, inside it.
    const edges = [...(from % 2 === 1 ? [] : [start]), ...(to % 2 === 1 ? [] : [end])];
    this.#replace(from, to, edges);
    if (this.size > this.#rangesMax) this.#giveUpSmallestGaps();
    return addedBytes;
  }

  /** As a normal list (ranges.ts). */
  toRanges(): Float64Array {
    const pairs = this.#edges.slice(0, this.#used);
    for (let at = 1; at < pairs.length; at += 2) pairs[at]! -= pairs[at - 1]!;
    return pairs;
  }

  #replace(from: number, to: number, edges: readonly number[]): void {
    const used = this.#used + edges.length - (to - from);
    if (used > this.#edges.length) {
      const larger = new Float64Array(this.#edges.length * 2);
      larger.set(this.#edges);
      this.#edges = larger;
    }
    this.#edges.copyWithin(from + edges.length, to, this.#used);
    this.#edges.set(edges, from);
    this.#used = used;
  }

  #giveUpSmallestGaps(): void {
    const kept = coalesceSmallestGaps(this.toRanges(), Math.max(1, this.#rangesMax >> 1));
    this.#edges.set(kept);
    this.#used = kept.length;
    for (let at = 1; at < kept.length; at += 2) this.#edges[at]! += this.#edges[at - 1]!;
  }
}

/** More extents than this are merged over their smallest gaps. */
const collectedMax = 1_000_000;

/**
 * Gathers pages of extents, in ascending order, into one list. Beyond the limit neighbours with
 * small gaps between them become one extent: more is copied then, never less.
 */
export class ExtentCollector {
  readonly #set: RangeSet;

  constructor(extentsMax: number = collectedMax) {
    this.#set = new RangeSet(extentsMax);
  }

  /** @throws RangeError where the page goes back */
  add(page: Float64Array): void {
    for (let at = 0; at + 1 < page.length; at += 2) {
      const offset = page[at]!;
      if (offset < this.#set.end) throw new RangeError("pages of extents must ascend");
      this.#set.add(offset, offset + page[at + 1]!);
    }
  }

  finish(): Float64Array {
    return this.#set.toRanges();
  }
}

/** Index of the first of `count` ascending values that is >= `limit`, or `count`. */
function firstAtLeast(sorted: ArrayLike<number>, limit: number, count: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first of `count` ascending whole numbers that is > `limit`, or `count`. */
export function firstAbove(
  sorted: ArrayLike<number>,
  limit: number,
  count: number = sorted.length,
): number {
  return firstAtLeast(sorted, limit + 1, count);
}
