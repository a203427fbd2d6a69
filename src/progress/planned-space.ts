/** The planned areas of a disk laid end to end, so that "how much of the plan" is plain arithmetic. */
import { firstAbove } from "../range-set.ts";
import { coalesceSmallestGaps, totalBytes, whole } from "../ranges.ts";

/** Past this many areas the smallest gaps between them are taken in, to bound memory. */
export const plannedAreasMax = 65_536;

export class PlannedSpace {
  /** What the plan asks for, whatever was taken in for the sake of memory. */
  #totalBytes = 0;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Planned bytes before area i. */
  readonly #before: number[] = [];
  readonly #max: number;

  /** `areas`: pairs [offset, length, …], sorted and disjoint; `undefined` plans the whole disk. */
  constructor(
    areas: Float64Array | undefined,
    capacityBytes: number,
    max: number = plannedAreasMax,
  ) {
    const pairs = areas ?? whole(capacityBytes);
    this.#max = max;
    this.append(coalesceSmallestGaps(pairs, max));
    this.#totalBytes = totalBytes(pairs);
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /**
   * More areas, behind all that were planned before. Past the bound they become part of the last
   * one: where bytes stand within it is then no longer told apart, how many there are still is.
   */
  append(areas: Float64Array): void {
    for (let i = 0; i + 1 < areas.length; i += 2) {
      const start = areas[i]!;
      const end = start + areas[i + 1]!;
      this.#totalBytes += end - start;
      const last = this.#starts.length - 1;
      if (last >= 0 && (last + 1 >= this.#max || this.#ends[last] === start)) {
        this.#ends[last] = end;
        continue;
      }
      this.#before.push(
        last < 0 ? 0 : this.#before[last]! + this.#ends[last]! - this.#starts[last]!,
      );
      this.#starts.push(start);
      this.#ends.push(end);
    }
  }

  /** How many planned bytes lie before `offset`. */
  positionOf(offset: number): number {
    const i = firstAbove(this.#starts, offset) - 1;
    if (i < 0) return 0;
    return this.#before[i]! + Math.min(offset, this.#ends[i]!) - this.#starts[i]!;
  }
}
