/** A set of byte ranges that grows only, in bounded memory: what of a disk is done. */

/** Past this many separate ranges the smallest gaps are given up. */
const intervalsMax = 65_536;

export class IntervalSet {
  /** Sorted, disjoint, not touching: range i is [starts[i], ends[i]). */
  #starts: number[] = [];
  #ends: number[] = [];
  readonly #max: number;

  constructor(max: number = intervalsMax) {
    this.#max = max;
  }

  get size(): number {
    return this.#starts.length;
  }

  /** Adds [start, end) and returns how many of its bytes were not in the set yet. */
  add(start: number, end: number): number {
    if (end <= start) return 0;
    // Ranges first … last - 1 touch or overlap the new one.
    const first = firstAtLeast(this.#ends, start);
    const last = firstAbove(this.#starts, end);
    let addedBytes = end - start;
    for (let i = first; i < last; i++) {
      addedBytes -= Math.max(0, Math.min(end, this.#ends[i]!) - Math.max(start, this.#starts[i]!));
    }
    if (last > first) {
      const mergedStart = Math.min(start, this.#starts[first]!);
      const mergedEnd = Math.max(end, this.#ends[last - 1]!);
      if (last - first === 1) {
        // The usual case, a range that grows at its end, moves nothing.
        this.#starts[first] = mergedStart;
        this.#ends[first] = mergedEnd;
      } else {
        this.#starts.splice(first, last - first, mergedStart);
        this.#ends.splice(first, last - first, mergedEnd);
      }
    } else {
      this.#starts.splice(first, 0, start);
      this.#ends.splice(first, 0, end);
      if (this.#starts.length > this.#max) this.#giveUpSmallestGaps();
    }
    return addedBytes;
  }

  /**
   * Halves the number of ranges. Bytes in a gap given up count as present without having been added,
   * so a sum of `add` results may end below the truth, never above it.
   */
  #giveUpSmallestGaps(): void {
    const kept = coalesceSmallestGaps(this.#starts, this.#ends, Math.max(1, this.#max >> 1));
    this.#starts = kept.starts;
    this.#ends = kept.ends;
  }
}

/** Joins neighbours across the smallest gaps until at most `max` ranges are left. */
export function coalesceSmallestGaps(
  starts: ArrayLike<number>,
  ends: ArrayLike<number>,
  max: number,
): { starts: number[]; ends: number[] } {
  const count = starts.length;
  const gaps = new Float64Array(Math.max(0, count - 1));
  for (let i = 0; i < gaps.length; i++) gaps[i] = starts[i + 1]! - ends[i]!;
  let excess = Math.max(0, count - max);
  const limitBytes = excess > 0 ? gaps.toSorted()[excess - 1]! : 0;
  // All gaps below the limit go; of those equal to it as many as it still takes.
  for (const gap of gaps) if (gap < limitBytes) excess--;
  const out = { starts: [] as number[], ends: [] as number[] };
  for (let i = 0; i < count; i++) {
    const gap = i === 0 ? Infinity : gaps[i - 1]!;
    if (gap < limitBytes || (gap === limitBytes && excess > 0)) {
      if (gap === limitBytes) excess--;
      out.ends[out.ends.length - 1] = ends[i]!;
    } else {
      out.starts.push(starts[i]!);
      out.ends.push(ends[i]!);
    }
  }
  return out;
}

/** Index of the first value >= `limit`, or the length. */
function firstAtLeast(sorted: ArrayLike<number>, limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first value > `limit`, or the length. */
export function firstAbove(sorted: ArrayLike<number>, limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
