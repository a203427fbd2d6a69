/** Which ranges of a target are remembered by their digests, for the guard of the next run. */
import { chunkKind, digestRanges, type NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import { intersect } from "../../ranges.ts";
import type { TargetSample } from "../../state/disk-records.ts";

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

/** The digests of ranges as they now are on the target. @throws NbdError; the signal's reason */
export async function takeSamples(
  target: NbdEndpoint,
  ranges: Float64Array,
  signal?: AbortSignal,
): Promise<TargetSample[]> {
  if (ranges.length === 0) return [];
  const digests = await patiently(signal, () => digestRanges(target, ranges, { signal }));
  return digests.map((digest, index) => ({
    offset: ranges[index * 2]!,
    length: ranges[index * 2 + 1]!,
    digest,
  }));
}

/**
 * Reads the samples' ranges from the target again; gives the first that differs.
 * @throws NbdError; the signal's reason
 */
export async function findChangedSample(
  target: NbdEndpoint,
  samples: readonly TargetSample[],
  signal: AbortSignal,
): Promise<TargetSample | undefined> {
  const sorted = [...samples].sort((a, b) => a.offset - b.offset);
  const ranges = Float64Array.from(sorted.flatMap(({ offset, length }) => [offset, length]));
  const now = await takeSamples(target, ranges, signal);
  return sorted.find((sample, index) => sample.digest !== now[index]?.digest);
}

/** The samples that no interrupted run can have touched. */
export function untouchedSamples(
  samples: readonly TargetSample[],
  touched: Float64Array,
): TargetSample[] {
  return samples.filter((sample) => !isTouched(sample, touched));
}

/** Whether a sample shares a byte with ranges [offset, length]. */
export function isTouched({ offset, length }: TargetSample, ranges: Float64Array): boolean {
  return intersect(Float64Array.of(offset, length), ranges).length > 0;
}
