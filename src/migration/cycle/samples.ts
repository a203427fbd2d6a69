/** Which ranges of a target are remembered by their digests, for the guard of the next run. */
import {
  chunkKind,
  digestRanges,
  type NbdEndpoint,
  readRange,
} from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import { intersect, merge, whole } from "../../ranges.ts";
import type { TargetSample } from "../../state/disk-records.ts";
import { listMountRanges } from "../../volume/volume.ts";

const sliceCount = 64;
const sampleBytes = 64 * 1024;
const edgeBytes = 1024 * 1024;
/** An interrupted run voids the samples that it may have touched: so they are not large. */
const pieceBytes = 256 * 1024;

/**
 * Picks what is to be looked at of all that a copy wrote, data and zeroes apart: spread over the disk,
 * the same for the same writes in any order, in fixed memory.
 */
export class SamplePicker {
  readonly #data: Picks;
  readonly #zeroes: Picks;

  constructor(capacityBytes: number) {
    this.#data = new Picks(capacityBytes);
    this.#zeroes = new Picks(capacityBytes);
  }

  /** Chunks as the engine reports them: triples [offset, length, kind]. */
  observe(chunks: Float64Array): void {
    for (let i = 0; i + 2 < chunks.length; i += 3) {
      const picks = chunks[i + 2] === chunkKind.data ? this.#data : this.#zeroes;
      picks.offer(chunks[i]!, chunks[i + 1]!);
    }
  }

  /** Data that an interrupted run has brought over, pairs [offset, length]. */
  observeFinished(ranges: Float64Array): void {
    for (let i = 0; i < ranges.length; i += 2) this.#data.offer(ranges[i]!, ranges[i + 1]!);
  }

  /** Blocks that earlier runs wrote, where this one wrote no data in the slice; none in `except`. */
  keep(samples: readonly TargetSample[], except: Float64Array): void {
    for (const sample of untouchedSamples(samples, except)) {
      if (sample.length <= sampleBytes) this.#data.offerWhereEmpty(sample.offset, sample.length);
    }
  }

  /** Pairs [offset, length], sorted and disjoint. */
  data(): Float64Array {
    return this.#data.ranges();
  }

  /** As `data`: blocks that were zeroed, or seen to be zero. */
  zeroes(): Float64Array {
    return this.#zeroes.ranges();
  }
}

/** One block in each of 64 equal slices of the disk, chosen by a hash of its offset. */
class Picks {
  readonly #capacityBytes: number;
  readonly #best = new Map<number, { offset: number; length: number; rank: number }>();

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  offer(chunkOffset: number, chunkLength: number): void {
    const blocks = Math.max(1, Math.floor(chunkLength / sampleBytes));
    const offset = chunkOffset + (hash(chunkOffset) % blocks) * sampleBytes;
    const length = Math.min(sampleBytes, chunkOffset + chunkLength - offset);
    const slice = this.#sliceOf(offset);
    const rank = hash(offset);
    const best = this.#best.get(slice);
    if (best === undefined || rank < best.rank) this.#best.set(slice, { offset, length, rank });
  }

  offerWhereEmpty(offset: number, length: number): void {
    if (!this.#best.has(this.#sliceOf(offset))) this.offer(offset, length);
  }

  ranges(): Float64Array {
    const picked = [...this.#best.values()].map(({ offset, length }) =>
      Float64Array.of(offset, length),
    );
    return merge(picked);
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

/**
 * What anybody who boots, mounts or replaces a volume writes to, whatever a copy wrote: its edges, and
 * the places that its own tables and superblocks name (src/volume/). Pairs [offset, length].
 * @throws NbdError; the signal's reason
 */
export async function readTellingRanges(
  target: NbdEndpoint,
  capacityBytes: number,
  signal: AbortSignal,
): Promise<Float64Array> {
  const mounted = await listMountRanges(
    (offset, length) => patiently(signal, () => readRange(target, offset, length, { signal })),
    capacityBytes,
  );
  const lastAt = Math.max(0, capacityBytes - edgeBytes);
  const edges = [0, lastAt].map((offset) => Float64Array.of(offset, edgeBytes));
  return intersect(merge([mounted, ...edges]), whole(capacityBytes));
}

/** Ranges cut into samples of at most 256 KiB. */
export function inPieces(ranges: Float64Array): Float64Array {
  const pieces: number[] = [];
  for (let i = 0; i < ranges.length; i += 2) {
    const end = ranges[i]! + ranges[i + 1]!;
    for (let at = ranges[i]!; at < end; at += pieceBytes) {
      pieces.push(at, Math.min(pieceBytes, end - at));
    }
  }
  return Float64Array.from(pieces);
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
