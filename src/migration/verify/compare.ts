/** The comparison of one disk's target with a snapshot, and the repair of what differs. */
import { MigratekitError, messageOf } from "../../errors.ts";
import type { Engine, NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import type { NbdkitExport } from "../../nbd/nbdkit/nbdkit.ts";
import { complement, intersect, subtract, totalBytes, whole } from "../../ranges.ts";
import type { TargetSample } from "../../state/disk-records.ts";
import type { CycleDisk } from "../cycle/cycle-disk.ts";
import { explainCopyError } from "../cycle/engine-errors.ts";
import { takeSamples } from "../cycle/guard.ts";
import { type AreaQuery, changedAreas } from "../cycle/plan.ts";
import type { Run } from "../vm/run.ts";
import { type VerifyBasis, verifyBasis } from "./basis.ts";

/** Ranges listed of one disk; counts and sums cover all of them. */
export const listedMax = 1000;

/** What is to be compared of one disk. Lists are pairs [offset, length]. */
export interface ComparisonPlan {
  readonly basis: VerifyBasis;
  /** Must be equal; empty where nothing is known. */
  readonly expected: Float64Array;
  /** Changed since the last sync: the next one brings it. */
  readonly newer: Float64Array;
}

export interface Comparison {
  readonly comparedBytes: number;
  /** The first of them. */
  readonly differences: Float64Array;
  readonly differingBytes: number;
  readonly truncated: boolean;
  readonly repairedBytes: number;
}

export async function planComparison(
  run: Run,
  query: AreaQuery,
  disk: CycleDisk,
): Promise<ComparisonPlan> {
  const { capacityBytes } = disk.frozen;
  const nothing = new Float64Array(0);
  const poweredOff = run.site.vm.powerState === "poweredOff";
  const basis = verifyBasis(disk, { poweredOff });
  if (basis.type === "unknown") return { basis, expected: nothing, newer: nothing };
  if (basis.type === "everything") {
    return { basis, expected: sampled(run, whole(capacityBytes), capacityBytes), newer: nothing };
  }
  try {
    const newer = await changedAreas(query, disk, basis.since);
    const unchanged = complement(newer, capacityBytes);
    const expected = basis.within ? intersect(unchanged, basis.within) : unchanged;
    return { basis, expected: sampled(run, expected, capacityBytes), newer };
  } catch (error) {
    const untold = error instanceof MigratekitError && error.code === "changed-areas-unavailable";
    if (!untold) throw error;
    const reason = `vSphere could not tell what changed: ${messageOf(error)}`;
    return { basis: { type: "unknown", reason }, expected: nothing, newer: nothing };
  }
}

/**
 * Reads both sides. With `--repair` copies exactly what differs and reads it again.
 * @throws MigratekitError `source-…`, `target-io`; `verification-mismatch` where a repair did not hold
 */
export async function compareDisk(
  run: Run,
  engine: Engine,
  disk: CycleDisk,
  plan: ComparisonPlan,
  source: NbdkitExport,
): Promise<Comparison> {
  const sides = {
    source: { uri: source.uri, connections: run.config.sourceConnections },
    target: disk.target,
    capacityBytes: disk.frozen.capacityBytes,
    signal: run.signal,
  };
  try {
    return await compareSides(run, engine, disk, plan, sides);
  } catch (error) {
    const cause = await source.findRootCause(error);
    throw explainCopyError(error, disk.diskId, disk.targetFacts.uri, cause);
  }
}

type Sides = {
  readonly source: NbdEndpoint;
  readonly target: NbdEndpoint;
  readonly capacityBytes: number;
  readonly signal: AbortSignal;
};

async function compareSides(
  run: Run,
  engine: Engine,
  disk: CycleDisk,
  plan: ComparisonPlan,
  sides: Sides,
): Promise<Comparison> {
  const { tracker } = run.reporter;
  const listed: number[] = [];
  let differingBytes = 0;
  let repairedBytes = 0;
  let truncated = false;
  // The engine lists the lowest differences first: a repair goes on behind the last one listed.
  for (let left = plan.expected; left.length > 0; ) {
    const result = await engine.compare({
      ...sides,
      extents: left,
      differencesMaximum: listedMax,
      onChunks: (chunks) => tracker.onChunks(disk.diskId, chunks),
      onRetry: (retry) =>
        run.logger.warn({ disk: disk.diskId, ...retry }, `trying again: ${retry.message}`),
    });
    const { differences } = result;
    listed.push(...differences.subarray(0, listedMax * 2 - listed.length));
    if (!run.config.repair || differences.length === 0) {
      differingBytes += result.differingBytes;
      truncated ||= result.truncated;
      break;
    }
    const bytes = totalBytes(differences);
    differingBytes += bytes;
    truncated ||= listed.length < differences.length;
    await repair(run, engine, disk, sides, differences);
    repairedBytes += bytes;
    if (!result.truncated) break;
    const end = differences.at(-2)! + differences.at(-1)!;
    left = subtract(left, whole(end));
  }
  return {
    comparedBytes: totalBytes(plan.expected),
    differences: Float64Array.from(listed),
    differingBytes,
    truncated,
    repairedBytes,
  };
}

/**
 * The source did not change in these ranges since the change ID that the record holds, so what is
 * written is right for the record too, and a death in between does no harm.
 */
async function repair(
  run: Run,
  engine: Engine,
  disk: CycleDisk,
  sides: Sides,
  differences: Float64Array,
): Promise<void> {
  run.reporter.tracker.setDiskNote(disk.diskId, "repairing");
  await engine.copy({ ...sides, extents: differences });
  const again = await engine.compare({ ...sides, extents: differences });
  if (again.differences.length > 0) {
    throw new MigratekitError(
      "verification-mismatch",
      `${disk.diskId}: ${again.differingBytes} bytes differ again right after their repair, the first at offset ${again.differences[0]}`,
      { remedy: "Look into the target's storage: it does not keep what is written to it." },
    );
  }
  await refreshSamples(run, disk, differences);
  run.reporter.tracker.setDiskNote(disk.diskId, undefined);
}

/** A sample may have been taken of the wrong bytes; left alone it would make the next run a full one. */
async function refreshSamples(run: Run, disk: CycleDisk, repaired: Float64Array): Promise<void> {
  const { identity, records, journals } = run;
  const { key } = disk.frozen;
  const record = records.readDiskRecord(identity, key);
  if (record?.samples.some((sample) => touches(sample, repaired))) {
    const samples = [];
    for (const sample of record.samples) {
      samples.push(touches(sample, repaired) ? await retake(run, disk, sample) : sample);
    }
    records.replaceSamples(identity, key, samples);
  }
  const journaled = journals.openJournal(identity, key)?.samples ?? [];
  const stale = journaled.filter((sample) => touches(sample, repaired));
  if (stale.length === 0) return;
  const fresh = await Promise.all(stale.map((sample) => retake(run, disk, sample)));
  journals.appendFinished(identity, key, new Float64Array(0), fresh);
}

async function retake(run: Run, disk: CycleDisk, sample: TargetSample): Promise<TargetSample> {
  const range = Float64Array.of(sample.offset, sample.length);
  const [taken] = await takeSamples(disk.target, range, run.signal);
  return taken ?? sample;
}

function touches({ offset, length }: TargetSample, ranges: Float64Array): boolean {
  return intersect(Float64Array.of(offset, length), ranges).length > 0;
}

const sampleSlices = 256;
const sampleBytes = 64 * 1024;
const edgeBytes = 1024 * 1024;

function sampled(run: Run, areas: Float64Array, capacityBytes: number): Float64Array {
  return run.config.sample ? sampleAreas(areas, capacityBytes, Math.random) : areas;
}

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
