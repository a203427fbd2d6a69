/** The planned areas of a disk laid end to end, so that "how much of the plan" is plain arithmetic. */
import { coalesceSmallestGaps, firstAbove } from "./interval-set.ts";

/** Past this many areas the smallest gaps between them are taken in, to bound memory. */
export const plannedAreasMax = 65_536;

export class PlannedSpace {
  /** What the plan asks for, whatever was taken in for the sake of memory. */
  readonly totalBytes: number;
  readonly #starts: ArrayLike<number>;
  readonly #ends: ArrayLike<number>;
  /** Planned bytes before area i. */
  readonly #before: Float64Array;

  /** `areas`: pairs [offset, length, …], sorted and disjoint; `undefined` plans the whole disk. */
  constructor(
    areas: Float64Array | undefined,
    capacityBytes: number,
    max: number = plannedAreasMax,
  ) {
    const pairs = areas ?? Float64Array.of(0, capacityBytes);
    let totalBytes = 0;
    const starts = new Float64Array(pairs.length / 2);
    const ends = new Float64Array(pairs.length / 2);
    for (let i = 0; i < starts.length; i++) {
      starts[i] = pairs[2 * i]!;
      ends[i] = starts[i]! + pairs[2 * i + 1]!;
      totalBytes += pairs[2 * i + 1]!;
    }
    this.totalBytes = totalBytes;
    const kept = starts.length > max ? coalesceSmallestGaps(starts, ends, max) : { starts, ends };
    this.#starts = kept.starts;
    this.#ends = kept.ends;
    this.#before = new Float64Array(kept.starts.length);
    for (let i = 1; i < this.#before.length; i++) {
      this.#before[i] = this.#before[i - 1]! + kept.ends[i - 1]! - kept.starts[i - 1]!;
    }
  }

  /** How many planned bytes lie before `offset`. */
  positionOf(offset: number): number {
    const i = firstAbove(this.#starts, offset) - 1;
    if (i < 0) return 0;
    return this.#before[i]! + Math.min(offset, this.#ends[i]!) - this.#starts[i]!;
  }
}
