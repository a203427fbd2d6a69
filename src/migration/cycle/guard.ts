/**
 * Is the target still what the change ID speaks of? An incremental onto anything else would end in
 * a volume that is neither old nor new.
 */

import { digestRanges, type Engine, type NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { complement, intersect } from "../../ranges.ts";
import type { TargetSample } from "../../state/disk-records.ts";
import { patiently } from "./patience.ts";

/** The samples that no interrupted run can have touched. */
export function untouchedSamples(
  samples: readonly TargetSample[],
  touched: Float64Array,
): TargetSample[] {
  if (touched.length === 0) return [...samples];
  return samples.filter(
    ({ offset, length }) => intersect(Float64Array.of(offset, length), touched).length === 0,
  );
}

/** Reads the samples' ranges from the target again; gives the first that differs. */
export async function findChangedSample(
  target: NbdEndpoint,
  samples: readonly TargetSample[],
  signal: AbortSignal,
): Promise<TargetSample | undefined> {
  if (samples.length === 0) return undefined;
  const sorted = [...samples].sort((a, b) => a.offset - b.offset);
  const ranges = Float64Array.from(sorted.flatMap(({ offset, length }) => [offset, length]));
  const digests = await patiently(signal, () => digestRanges(target, ranges, { signal }));
  return sorted.find((sample, index) => sample.digest !== digests[index]);
}

/** The digests of ranges as they now are on the target. */
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

const probeCount = 64;
const probeBytes = 64 * 1024;

/**
 * For a change ID from elsewhere: compares source and target on ranges that did not change since,
 * spread over the disk. Gives the first range that differs.
 */
export async function compareUnchanged(
  engine: Engine,
  sides: { source: NbdEndpoint; target: NbdEndpoint; capacityBytes: number },
  changed: Float64Array,
  allocated: Float64Array | undefined,
  signal: AbortSignal,
): Promise<{ offset: number; length: number } | undefined> {
  const unchanged = complement(changed, sides.capacityBytes);
  const written = allocated === undefined ? unchanged : intersect(unchanged, allocated);
  const extents = spreadProbes(written, sides.capacityBytes);
  if (extents.length === 0) return undefined;
  const { differences } = await engine.compare({ ...sides, extents, signal });
  return differences.length === 0
    ? undefined
    : { offset: differences[0]!, length: differences[1]! };
}

/** At most 64 blocks out of `areas`, one for each equal slice of the disk that has any. */
export function spreadProbes(areas: Float64Array, capacityBytes: number): Float64Array {
  const sliceBytes = Math.max(probeBytes, Math.ceil(capacityBytes / probeCount / 512) * 512);
  const probes: number[] = [];
  for (let start = 0; start < capacityBytes; start += sliceBytes) {
    const slice = Float64Array.of(start, Math.min(sliceBytes, capacityBytes - start));
    const found = intersect(areas, slice);
    if (found.length > 0) probes.push(found[0]!, Math.min(probeBytes, found[1]!));
  }
  return Float64Array.from(probes);
}
