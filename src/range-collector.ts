import { coalesce } from "./ranges.ts";

/** More pairs than this are merged over their smallest gaps: memory stays bounded. */
const pairsMax = 1_000_000;

/**
 * Gathers pages of extents, in ascending order, into one list. Beyond the limit neighbours with
 * small gaps between them become one extent: more is copied then, never less.
 */
export class ExtentCollector {
  #pairs = new Float64Array(4096);
  #length = 0;
  #gapBytes = 0;
  readonly #limit: number;

  constructor(limit: number = pairsMax) {
    this.#limit = limit * 2;
  }

  add(page: Float64Array): void {
    for (let i = 0; i + 1 < page.length; i += 2) this.#push(page[i]!, page[i + 1]!);
  }

  finish(): Float64Array {
    return this.#pairs.slice(0, this.#length);
  }

  #push(offset: number, length: number): void {
    const last = this.#length - 2;
    if (last >= 0) {
      const end = this.#pairs[last]! + this.#pairs[last + 1]!;
      if (offset < end) throw new RangeError("pages of extents must ascend");
      if (offset - end <= this.#gapBytes) {
        this.#pairs[last + 1] = offset + length - this.#pairs[last]!;
        return;
      }
    }
    if (this.#length === this.#limit) this.#coalesce();
    if (this.#length === this.#pairs.length) this.#grow();
    this.#pairs[this.#length++] = offset;
    this.#pairs[this.#length++] = length;
  }

  #grow(): void {
    const larger = new Float64Array(Math.min(this.#pairs.length * 2, this.#limit));
    larger.set(this.#pairs);
    this.#pairs = larger;
  }

  /** Doubles the gap that is merged over until at most half of the pairs are left. */
  #coalesce(): void {
    while (this.#length > this.#limit / 2) {
      this.#gapBytes = Math.max(65_536, this.#gapBytes * 2);
      const merged = coalesce(this.#pairs.subarray(0, this.#length), this.#gapBytes);
      this.#pairs.set(merged);
      this.#length = merged.length;
    }
  }
}
