/**
 * Is the target still what the change ID speaks of? An incremental onto anything else would end in
 * a volume that is neither old nor new.
 */
import { MigratekitError } from "../../errors.ts";
import type { Engine } from "../../nbd/copy-engine/copy-engine.ts";
import { complement, intersect } from "../../ranges.ts";
import { type CopyPlan, type PreparedDisk, sidesOf } from "../disk.ts";
import type { AreaQuery } from "./areas.ts";
import { planFullInstead } from "./plan.ts";
import { findChangedSample, untouchedSamples } from "./samples.ts";

/**
 * Before an incremental or a resume: is the target still what it is taken for? Gives the plan, or that
 * of a full copy in its place; `onMismatch` is `--on-target-mismatch`.
 * @throws MigratekitError `target-mismatch` where the operator said so, `vsphere-…`; NbdError; the
 *   signal's reason
 */
export async function guardTarget(
  engine: Engine,
  query: AreaQuery,
  disk: PreparedDisk,
  onMismatch: "full" | "fail",
): Promise<CopyPlan> {
  const { diskId, plan } = disk;
  const difference = await findDifference(engine, disk, query.signal);
  if (difference === undefined) return plan;
  if (onMismatch === "fail") {
    throw new MigratekitError("target-mismatch", `${diskId}: ${difference}`);
  }
  const { type } = plan.decision;
  if (type === "full") return plan;
  query.logger.warn({ disk: diskId }, `${difference}; copying everything instead of ${type}`);
  return await planFullInstead(query, disk, difference);
}

/** The one place that decides; undefined: the target is what it is taken for. */
async function findDifference(
  engine: Engine,
  disk: PreparedDisk,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { target, plan, record, journal } = disk;
  const { decision } = plan;
  if (decision.type === "full") return decision.targetMismatch ? decision.reason : undefined;
  const where = `the target ${target.identity}`;
  if (decision.type === "incremental" && decision.guard === "source") {
    const offset = await findChangeElsewhere(engine, disk, plan.extents!, signal);
    return offset === undefined
      ? undefined
      : `${where} differs at offset ${offset} from what did not change since`;
  }
  // Samples of the record speak of the time before the interrupted run; those of the journal are
  // of ranges that it finished and nobody has written since.
  const resumesFull = decision.type === "resume" && decision.mode === "full";
  const ofRecord = resumesFull ? [] : (record?.samples ?? []);
  const samples = [...untouchedSamples(ofRecord, plan.touched), ...(journal?.samples ?? [])];
  const changed = await findChangedSample(target.endpoint, samples, signal);
  return (
    changed && `${where} is not what the last run left: it differs at offset ${changed.offset}`
  );
}

/**
 * For a change ID from elsewhere: compares source and target on ranges that did not change since,
 * spread over the disk. Gives the first offset at which they differ.
 */
async function findChangeElsewhere(
  engine: Engine,
  disk: PreparedDisk,
  changed: Float64Array,
  signal: AbortSignal,
): Promise<number | undefined> {
  const sides = sidesOf(disk);
  const unchanged = complement(changed, sides.capacityBytes);
  const extents = spreadProbes(unchanged, sides.capacityBytes);
  if (extents.length === 0) return undefined;
  const { differences } = await engine.compare({ ...sides, extents, signal });
  return differences[0];
}

const probeCount = 64;
const probeBytes = 64 * 1024;

/** At most 64 blocks out of `areas`, one for each equal slice of the disk that has any. */
function spreadProbes(areas: Float64Array, capacityBytes: number): Float64Array {
  const sliceBytes = Math.max(probeBytes, Math.ceil(capacityBytes / probeCount / 512) * 512);
  const probes: number[] = [];
  for (let start = 0; start < capacityBytes; start += sliceBytes) {
    const slice = Float64Array.of(start, Math.min(sliceBytes, capacityBytes - start));
    const found = intersect(areas, slice);
    if (found.length > 0) probes.push(found[0]!, Math.min(probeBytes, found[1]!));
  }
  return Float64Array.from(probes);
}
