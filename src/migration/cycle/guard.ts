/**
 * Is the target still what the change ID speaks of? An incremental onto anything else would end in
 * a volume that is neither old nor new.
 */
import { MigratekitError } from "../../errors.ts";
import type { Engine } from "../../nbd/copy-engine/copy-engine.ts";
import { complement, intersect, merge, subtract, totalBytes, union, whole } from "../../ranges.ts";
import type { TargetSample } from "../../state/disk-records.ts";
import {
  type CheckedTarget,
  type CopyPlan,
  type FrozenDisk,
  type PreparedDisk,
  sidesOf,
} from "../disk.ts";
import { type AreaQuery, allocatedAreas } from "./areas.ts";
import { otherTarget } from "./decision.ts";
import { planFullInstead } from "./plan.ts";
import { findChangedSample, readTellingRanges, untouchedSamples } from "./samples.ts";
import { explainEngineError } from "./source.ts";

/** `--full` and `--on-target-mismatch`. */
interface Consent {
  readonly full: boolean;
  readonly onTargetMismatch: "full" | "fail";
}

/**
 * Is the target still what it is taken for? Gives the plan, or that of a full copy in its place. What a
 * run of ours may have left half done is copied over; what somebody else wrote only where that was
 * asked for.
 * @throws MigratekitError `target-mismatch` where it was not, `target-io`, `source-…`, `vsphere-…`;
 *   the signal's reason
 */
export async function guardTarget(
  engine: Engine,
  query: AreaQuery,
  disk: PreparedDisk,
  consent: Consent,
): Promise<CopyPlan> {
  const { diskId, plan } = disk;
  if (consent.full) return plan;
  const explain = async (error: unknown): Promise<never> => {
    throw await explainEngineError(error, disk, disk.source.nbdkit);
  };
  const difference = await findDifference(engine, query, disk).catch(explain);
  if (difference === undefined) {
    const unlisted = await findUnlistedChange(engine, query, disk).catch(explain);
    if (unlisted === undefined) return plan;
    query.logger.warn({ disk: diskId }, `${unlisted}; copying everything`);
    return await planFullInstead(query, disk, unlisted);
  }
  const { type } = plan.decision;
  const foreign = !wasInterrupted(disk) || (type === "full" && plan.decision.targetMismatch);
  if (foreign && consent.onTargetMismatch === "fail") {
    throw new MigratekitError("target-mismatch", `${diskId}: ${difference}`);
  }
  if (type === "full") {
    query.logger.warn({ disk: diskId }, `${difference}; everything is copied over it`);
    return plan;
  }
  query.logger.warn({ disk: diskId }, `${difference}; copying everything instead of ${type}`);
  return await planFullInstead(query, disk, difference);
}

/** The one place that decides; undefined: the target is what it is taken for. */
async function findDifference(
  engine: Engine,
  query: AreaQuery,
  disk: PreparedDisk,
): Promise<string | undefined> {
  const { signal } = query;
  const { target, plan, record } = disk;
  const { decision } = plan;
  if (decision.type === "full" && decision.targetMismatch) return decision.reason;
  const where = `the target ${target.identity}`;
  if (decision.type === "incremental" && decision.guard === "source") {
    const offset = await findChangeElsewhere(engine, query, disk, plan.extents!);
    return offset === undefined
      ? undefined
      : `${where} differs at offset ${offset} from what did not change since`;
  }
  if (!wasInterrupted(disk)) return await findForeignWrite(disk, signal);
  if (decision.type === "full") return undefined;
  if (decision.type === "resume") {
    const offset = await findLostProgress(engine, disk, signal);
    if (offset !== undefined) {
      return `${where} does not hold what the interrupted run wrote: it differs at offset ${offset}`;
    }
  }
  // Samples of the record speak of the time before the interrupted run; a full copy voids them.
  const untouched = untouchedSamples(record?.samples ?? [], plan.touched);
  return otherThanLeft(target, await findChangedSample(target.endpoint, untouched, signal));
}

/**
 * The target is what we left: is the source that, too, wherever vSphere lists no change? Not where its list
 * leaves something out: after a revert that kept the tracking history and then counted past the stored
 * number, after some consolidations of old hosts, with tracking that others turned on over snapshots.
 */
async function findUnlistedChange(
  engine: Engine,
  { signal }: AreaQuery,
  disk: PreparedDisk,
): Promise<string | undefined> {
  const { plan, record, frozen } = disk;
  if (plan.syncType !== "incremental" || plan.plannedAreas === undefined) return undefined;
  if (plan.decision.type === "incremental" && plan.decision.guard === "source") return undefined;
  const listed = plan.plannedAreas;
  // What vSphere has not told yet lies behind what it has.
  const toldBytes = plan.rest ? endOf(listed) : frozen.capacityBytes;
  const samples = untouchedSamples(record?.samples ?? [], plan.touched);
  const ranges = merge(samples.map(({ offset, length }) => Float64Array.of(offset, length)));
  const looked = subtract(intersect(ranges, whole(toldBytes)), listed);
  const offset = await firstDifference(engine, disk, looked, signal);
  if (offset === undefined) return undefined;
  return `the source differs at offset ${offset} from what was copied, though vSphere lists no change there`;
}

function endOf(ranges: Float64Array): number {
  return (ranges.at(-2) ?? 0) + (ranges.at(-1) ?? 0);
}

/** Whether a run of ours may have written to the target after its record was made. */
function wasInterrupted({ record, journal }: Known): boolean {
  return record?.unfinished !== undefined || journal !== undefined;
}

type Known = Pick<FrozenDisk, "target" | "storedChangeId" | "record" | "journal">;

/**
 * What tells that the target is not what our last run left, where none has begun since. Where another
 * program has stored a change ID in between, our record says nothing.
 * @throws NbdError; the signal's reason
 */
export async function findForeignWrite(
  known: Known,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { target, record, storedChangeId } = known;
  if (wasInterrupted(known) || record?.targetUri === undefined) return undefined;
  if (storedChangeId !== undefined && storedChangeId !== record.changeId) return undefined;
  const other = otherTarget(record.targetUri, target);
  if (other !== undefined) return other;
  const { samples } = record;
  const lost = samples.find(({ offset, length }) => offset + length > target.info.sizeBytes);
  const changed = lost ?? (await findChangedSample(target.endpoint, samples, signal));
  return otherThanLeft(target, changed);
}

function otherThanLeft(
  { identity }: CheckedTarget,
  changed: TargetSample | undefined,
): string | undefined {
  return (
    changed &&
    `the target ${identity} is not what the last run left: it differs at offset ${changed.offset}`
  );
}

/**
 * For a change ID from elsewhere: compares source and target on ranges that did not change since,
 * where something was ever allocated, spread over the disk, and wherever a mount would have written.
 * Gives the first offset at which they differ.
 */
async function findChangeElsewhere(
  engine: Engine,
  query: AreaQuery,
  disk: PreparedDisk,
  changed: Float64Array,
): Promise<number | undefined> {
  const { capacityBytes } = disk.frozen;
  const unchanged = complement(changed, capacityBytes);
  const allocated = await allocatedAreas(query, disk);
  // Some datastores and hosts call everything allocated, or tell nothing: most of it may be holes then.
  const telling = allocated !== undefined && totalBytes(allocated) < capacityBytes;
  const count = telling ? probeCount : blindProbeCount;
  const probes = spreadProbes(intersect(unchanged, allocated ?? unchanged), capacityBytes, count);
  const mounted = await readTellingRanges(disk.target.endpoint, capacityBytes, query.signal);
  const looked = union(probes, intersect(mounted, unchanged));
  return await firstDifference(engine, disk, looked, query.signal);
}

/**
 * Before a resume: an offset at which the target differs from what its journal calls finished and
 * nothing has changed since; undefined where the journal may be believed.
 */
async function findLostProgress(
  engine: Engine,
  disk: PreparedDisk,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { plan, frozen, target } = disk;
  const { finished, plannedAreas } = plan;
  if (finished.length === 0) return undefined;
  const { capacityBytes } = frozen;
  const telling = await readTellingRanges(target.endpoint, capacityBytes, signal);
  const data = intersect(finished, plannedAreas ?? finished);
  const probes = [data, subtract(finished, data)].map((areas) =>
    spreadProbes(areas, capacityBytes),
  );
  const looked = merge([intersect(telling, finished), ...probes]);
  return await firstDifference(engine, disk, looked, signal);
}

/**
 * The first offset in ranges [offset, length] at which both sides differ, over connections made now.
 * @throws NbdError; the signal's reason
 */
export async function firstDifference(
  engine: Engine,
  disk: PreparedDisk,
  extents: Float64Array,
  signal: AbortSignal,
): Promise<number | undefined> {
  if (extents.length === 0) return undefined;
  const { differences } = await engine.compare({ ...sidesOf(disk), extents, signal });
  return differences[0];
}

const probeCount = 64;
/** Where nothing tells data from holes: 32 MiB, of which a disk that is a tenth full holds some fifty in data. */
const blindProbeCount = 512;
const probeBytes = 64 * 1024;

/** At most `count` blocks out of `areas`, one for each equal slice of the disk that has any. */
function spreadProbes(
  areas: Float64Array,
  capacityBytes: number,
  count = probeCount,
): Float64Array {
  const sliceBytes = Math.max(probeBytes, Math.ceil(capacityBytes / count / 512) * 512);
  const probes: number[] = [];
  for (let start = 0; start < capacityBytes; start += sliceBytes) {
    const slice = Float64Array.of(start, Math.min(sliceBytes, capacityBytes - start));
    const found = intersect(areas, slice);
    if (found.length > 0) probes.push(found[0]!, Math.min(probeBytes, found[1]!));
  }
  return Float64Array.from(probes);
}
