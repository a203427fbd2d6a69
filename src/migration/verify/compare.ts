/** The comparison of one disk's target with a snapshot. */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { complement, intersect, subtract, totalBytes, whole } from "../../ranges.ts";
import { type AreaQuery, changedAreas, changesUnavailable, isUnavailable } from "../cycle/areas.ts";
import { TargetWriter } from "../cycle/late-writes.ts";
import { explainEngineError } from "../cycle/source.ts";
import { type FrozenDisk, type ServedSource, sidesOf } from "../disk.ts";
import { type VerifyBasis, verifyBasis } from "./basis.ts";
import { type Repairing, repairRanges } from "./repair.ts";

/** Ranges listed of one disk; counts and sums cover all of them. */
export const listedMax = 1000;

/** What is to be compared of one disk. Lists are pairs [offset, length], in bytes. */
export interface ComparisonPlan {
  readonly basis: VerifyBasis;
  /** Must be equal; empty where nothing is known. */
  readonly expected: Float64Array;
  /** Changed since the last sync: the next one brings it. */
  readonly newer: Float64Array;
}

export interface PlannedComparison extends FrozenDisk {
  readonly comparison: ComparisonPlan;
}

export interface ServedComparison extends PlannedComparison {
  readonly source: ServedSource;
}

/** What the comparisons of all disks of a run share. */
export interface Comparing extends Repairing {
  readonly config: Pick<Config, "repair">;
  readonly logger: Logger;
}

export interface Comparison {
  readonly comparedBytes: number;
  /** The first of them, pairs [offset, length]. */
  readonly differences: Float64Array;
  readonly differingBytes: number;
  readonly truncated: boolean;
  readonly repairedBytes: number;
}

const nothing = new Float64Array(0);

export const nothingFound: Comparison = {
  comparedBytes: 0,
  differences: nothing,
  differingBytes: 0,
  truncated: false,
  repairedBytes: 0,
};

/**
 * What must be equal by what is known, or, with `sample`, a part of it.
 * @throws MigratekitError `vsphere-…`; the signal's reason
 */
export async function planComparison(
  query: AreaQuery,
  disk: FrozenDisk,
  options: { readonly poweredOff: boolean; readonly sample: boolean },
): Promise<ComparisonPlan> {
  const { capacityBytes } = disk.frozen;
  const sampled = (areas: Float64Array) =>
    options.sample ? sampleAreas(areas, capacityBytes, Math.random) : areas;
  const basis = verifyBasis(disk, options);
  if (basis.type === "unknown") return { basis, expected: nothing, newer: nothing };
  if (basis.type === "everything") {
    return { basis, expected: sampled(whole(capacityBytes)), newer: nothing };
  }
  try {
    const newer = await changedAreas(query, disk, basis.since);
    const unchanged = complement(newer, capacityBytes);
    const expected = basis.within ? intersect(unchanged, basis.within) : unchanged;
    return { basis, expected: sampled(expected), newer };
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    const reason = changesUnavailable(error);
    return { basis: { type: "unknown", reason }, expected: nothing, newer: nothing };
  }
}

/**
 * Reads both sides. With `--repair` copies exactly what differs and reads it again.
 * @throws MigratekitError `source-…`, `target-io`; `verification-mismatch` where a repair did not hold
 */
export async function compareDisk(context: Comparing, disk: ServedComparison): Promise<Comparison> {
  try {
    return await compareSides(context, disk);
  } catch (error) {
    throw await explainEngineError(error, disk, disk.source.nbdkit);
  }
}

async function compareSides(context: Comparing, disk: ServedComparison): Promise<Comparison> {
  const { engine, config, reporter, logger, signal } = context;
  const { diskId, comparison } = disk;
  const listed: number[] = [];
  let differingBytes = 0;
  let repairedBytes = 0;
  let truncated = false;
  using writer = config.repair ? new TargetWriter(context, disk, disk.record?.changeId) : undefined;
  // The engine lists the lowest differences first: a repair goes on behind the last one listed.
  for (let left = comparison.expected; left.length > 0; ) {
    const result = await engine.compare({
      ...sidesOf(disk),
      onFigures: (figures) => {
        disk.tally.compared(figures);
        disk.tally.took(figures);
      },
      signal,
      extents: left,
      differencesMaximum: listedMax,
      onChunks: (chunks) => reporter.tracker.onChunks(diskId, chunks),
      onRetry: (retry) => logger.warn({ disk: diskId, ...retry }, `trying again: ${retry.message}`),
    });
    const { differences } = result;
    listed.push(...differences.subarray(0, listedMax * 2 - listed.length));
    if (writer === undefined || differences.length === 0) {
      differingBytes += result.differingBytes;
      truncated ||= result.truncated;
      break;
    }
    const bytes = totalBytes(differences);
    differingBytes += bytes;
    truncated ||= listed.length < differences.length;
    await repairRanges(context, disk, writer, differences);
    repairedBytes += bytes;
    if (!result.truncated) break;
    const end = differences.at(-2)! + differences.at(-1)!;
    left = subtract(left, whole(end));
  }
  // What an interrupted run left under way is for the next sync to look at.
  if (writer?.earlier === undefined) writer?.end();
  return {
    comparedBytes: totalBytes(comparison.expected),
    differences: Float64Array.from(listed),
    differingBytes,
    truncated,
    repairedBytes,
  };
}

const sampleSlices = 256;
const sampleBytes = 64 * 1024;
const edgeBytes = 1024 * 1024;

/**
 * Both ends of the disk and one block at a random place in each of 256 equal slices, as far as they
 * lie in `areas`: other blocks each time.
 */
export function sampleAreas(
  areas: Float64Array,
  capacityBytes: number,
  random: () => number,
): Float64Array {
  const sliceBytes = Math.max(sampleBytes, Math.ceil(capacityBytes / sampleSlices / 512) * 512);
  const wanted: number[] = [];
  let end = 0;
  const want = (from: number, to: number) => {
    const start = Math.max(from, end);
    if (to <= start) return;
    wanted.push(start, to - start);
    end = to;
  };
  want(0, Math.min(edgeBytes, capacityBytes));
  const lastStart = Math.max(0, capacityBytes - edgeBytes);
  for (let slice = 0; slice < lastStart; slice += sliceBytes) {
    const room = Math.max(0, sliceBytes - sampleBytes);
    const start = slice + Math.floor((random() * (room + 512)) / 512) * 512;
    want(start, Math.min(start + sampleBytes, lastStart));
  }
  want(lastStart, capacityBytes);
  return intersect(areas, Float64Array.from(wanted));
}
