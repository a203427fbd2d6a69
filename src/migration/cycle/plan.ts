/** From the decision (decision.ts) to ranges: asks vSphere for changed areas and does the sums. */
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { ExtentCollector } from "../../range-set.ts";
import { complement, subtract, totalBytes, union } from "../../ranges.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { type AreaPages, readFirstPages } from "./areas.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import { type DiskPlan, planDisk } from "./decision.ts";

/** What is to be copied of one disk. Lists are pairs [offset, length]. */
export interface CopyPlan {
  readonly decision: DiskPlan;
  readonly syncType: "full" | "incremental";
  readonly reason: string;
  /** What the engine copies; undefined: the whole disk. */
  readonly extents: Float64Array | undefined;
  /** More extents, which vSphere has not listed yet; they follow `extents` on the disk. */
  readonly rest?: AsyncIterable<Float64Array>;
  /** What progress counts; undefined: the whole capacity. */
  readonly plannedAreas: Float64Array | undefined;
  /** What interrupted runs brought over and no change has touched since; part of the journal. */
  readonly finished: Float64Array;
  /** Where the target may differ from what its record says, since an interrupted run wrote there. */
  readonly touched: Float64Array;
}

export interface AreaQuery {
  readonly client: VsphereClient;
  readonly vmMoref: string;
  readonly snapshotMoref: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const nothing = new Float64Array(0);

export async function planCopy(
  query: AreaQuery,
  disk: CycleDisk,
  options: { readonly full: boolean },
): Promise<CopyPlan> {
  const decision = planDisk(disk.frozen, disk.targetFacts, disk.known, options);
  try {
    if (decision.type === "incremental") return await planChanges(query, disk, decision);
    if (decision.type === "resume") return await planResume(query, disk, decision);
    return await planFull(query, disk, decision);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    return await planFull(query, disk, { type: "full", reason: changesUnavailable(error) });
  }
}

/** A full copy in place of another plan that turned out not to be safe. */
export async function planFullInstead(
  query: AreaQuery,
  disk: CycleDisk,
  reason: string,
): Promise<CopyPlan> {
  return await planFull(query, disk, { type: "full", reason });
}

async function planFull(
  query: AreaQuery,
  disk: CycleDisk,
  decision: Extract<DiskPlan, { type: "full" }>,
): Promise<CopyPlan> {
  const allocated = await allocatedAreas(query, disk);
  return {
    decision,
    syncType: "full",
    reason: decision.reason,
    // Allocated areas say nothing of what the target holds elsewhere: unless it holds zeroes,
    // the whole disk is gone through, with the source's own extents.
    extents: disk.targetIsZero ? allocated : undefined,
    plannedAreas: allocated,
    finished: nothing,
    touched: nothing,
  };
}

async function planChanges(
  query: AreaQuery,
  disk: CycleDisk,
  decision: Extract<DiskPlan, { type: "incremental" }>,
): Promise<CopyPlan> {
  // Only where nothing has to be worked out from the whole list can copying begin before its end.
  const whole = disk.interrupted || decision.guard === "source";
  const changed: AreaPages = whole
    ? { first: await changedAreas(query, disk, decision.since) }
    : await readFirstPages(areaPages(query, disk, decision.since));
  return {
    decision,
    syncType: "incremental",
    reason: decision.reason,
    extents: changed.first,
    ...(changed.rest && { rest: changed.rest }),
    plannedAreas: changed.first,
    finished: nothing,
    touched: disk.interrupted ? changed.first : nothing,
  };
}

/**
 * What was never finished, and what changed since the interrupted run's snapshot. A finished range
 * that changed since is no longer finished.
 */
async function planResume(
  query: AreaQuery,
  disk: CycleDisk,
  decision: Extract<DiskPlan, { type: "resume" }>,
): Promise<CopyPlan> {
  const sinceBase = await changedAreas(query, disk, decision.base);
  const finished = subtract(disk.journalFinished, sinceBase);
  if (decision.mode === "incremental") {
    const sinceStart = await changedAreas(query, disk, decision.since ?? decision.base);
    const planned = union(sinceStart, sinceBase);
    return {
      decision,
      syncType: "incremental",
      reason: decision.reason,
      extents: subtract(planned, finished),
      plannedAreas: planned,
      finished,
      touched: planned,
    };
  }
  return {
    decision,
    syncType: "full",
    reason: decision.reason,
    extents: complement(finished, disk.frozen.capacityBytes),
    plannedAreas: await allocatedAreas(query, disk),
    finished,
    touched: nothing,
  };
}

/** Areas ever allocated, where vSphere answers that (it may not, off VMFS or on old hosts). */
async function allocatedAreas(
  query: AreaQuery,
  disk: CycleDisk,
): Promise<Float64Array | undefined> {
  if (disk.frozen.changeId === undefined) return undefined;
  try {
    const areas = await changedAreas(query, disk, "*");
    query.logger.debug({ disk: disk.diskId, bytes: totalBytes(areas) }, "allocated areas");
    return areas;
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    query.logger.info(
      { disk: disk.diskId },
      `vSphere does not tell allocated areas (${error.message}); the source's extents will`,
    );
    return undefined;
  }
}

/** What changed on a disk since a change ID (or was ever allocated, for `*`), as one list. */
export async function changedAreas(
  query: AreaQuery,
  disk: CycleDisk,
  changeId: string,
): Promise<Float64Array> {
  const collector = new ExtentCollector();
  for await (const page of areaPages(query, disk, changeId)) collector.add(page);
  return collector.finish();
}

function areaPages(
  query: AreaQuery,
  disk: CycleDisk,
  changeId: string,
): AsyncIterable<Float64Array> {
  return query.client.changedAreas({
    vmMoref: query.vmMoref,
    snapshotMoref: query.snapshotMoref,
    deviceKey: disk.frozen.key,
    changeId,
    capacityBytes: disk.frozen.capacityBytes,
    signal: query.signal,
  });
}

export function changesUnavailable(error: MigratekitError): string {
  return `vSphere could not tell what changed: ${error.message}`;
}

/** vSphere has lost track of the changes: the one vSphere error that a full copy gets over. */
export function isUnavailable(error: unknown): error is MigratekitError {
  return error instanceof MigratekitError && error.code === "changed-areas-unavailable";
}
