/** Which ranges of a target are remembered by their digests, for the guard of the next run. */
import { chunkKind } from "../../nbd/copy-engine/copy-engine.ts";

const sliceCount = 64;
const sampleBytes = 64 * 1024;
const edgeBytes = 1024 * 1024;

/**
 * Picks one written block in each of 64 equal slices of the disk, by a hash of its offset: spread
 * over what was written, the same for the same writes in any order, in fixed memory.
 */
export class SamplePicker {
  readonly #capacityBytes: number;
  readonly #best = new Map<number, { offset: number; length: number; rank: number }>();

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** Chunks as the engine reports them: triples [offset, length, kind]. */
  observe(chunks: Float64Array): void {
    for (let i = 0; i + 2 < chunks.length; i += 3) {
      if (chunks[i + 2] === chunkKind.data) this.#offer(chunks[i]!, chunks[i + 1]!);
    }
  }

  /** Keeps blocks of an earlier run where this one wrote nothing in the slice. */
  keep(samples: readonly { readonly offset: number; readonly length: number }[]): void {
    for (const { offset, length } of samples) {
      if (length <= sampleBytes && !this.#best.has(this.#sliceOf(offset))) {
        this.#best.set(this.#sliceOf(offset), { offset, length, rank: hash(offset) });
      }
    }
  }

  /** The ranges to remember, sorted and disjoint pairs: first and last MiB, and the picked blocks. */
  ranges(): Float64Array {
    const first = { offset: 0, length: Math.min(edgeBytes, this.#capacityBytes) };
    const lastOffset = Math.max(first.length, this.#capacityBytes - edgeBytes);
    const last = { offset: lastOffset, length: this.#capacityBytes - lastOffset };
    const inner = [...this.#best.values()].filter(
      ({ offset, length }) => offset >= first.length && offset + length <= lastOffset,
    );
    const all = [first, ...inner.sort((a, b) => a.offset - b.offset), last];
    return Float64Array.from(
      all.filter(({ length }) => length > 0).flatMap(({ offset, length }) => [offset, length]),
    );
  }

  #offer(chunkOffset: number, chunkLength: number): void {
    const blocks = Math.max(1, Math.floor(chunkLength / sampleBytes));
    const offset = chunkOffset + (hash(chunkOffset) % blocks) * sampleBytes;
    const length = Math.min(sampleBytes, chunkOffset + chunkLength - offset);
    const slice = this.#sliceOf(offset);
    const rank = hash(offset);
    const best = this.#best.get(slice);
    if (best === undefined || rank < best.rank) this.#best.set(slice, { offset, length, rank });
  }

  #sliceOf(offset: number): number {
    return Math.floor((offset / this.#capacityBytes) * sliceCount);
  }
}

/** A well-mixed 32-bit hash of an offset (multiply and xor-shift, as in MurmurHash3's finalizer). */
function hash(offset: number): number {
  let h = (offset / 512) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
