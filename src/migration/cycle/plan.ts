/** From the decision (decision.ts) to ranges: asks vSphere for changed areas and does the sums. */
import type { Logger } from "pino";
import type { ProgressTracker } from "../../progress/progress.ts";
import { complement, intersect, subtract, totalBytes, union } from "../../ranges.ts";
import type { CopyDecision, CopyPlan, FrozenDisk, PlannedDisk } from "../disk.ts";
import {
  type AreaQuery,
  allocatedAreas,
  areaPages,
  changedAreas,
  changesUnavailable,
  isUnavailable,
  readFirstPages,
} from "./areas.ts";
import { decideCopy } from "./decision.ts";

type Decided<T extends CopyDecision["type"]> = Extract<CopyDecision, { type: T }>;

const nothing = new Float64Array(0);

/**
 * What is to be copied. Where vSphere has lost track of the changes, that is everything.
 * @throws MigratekitError `vsphere-…`; the signal's reason
 */
export async function planCopy(
  query: AreaQuery,
  disk: FrozenDisk,
  options: { readonly full: boolean },
): Promise<CopyPlan> {
  const decision = decideCopy(disk, options);
  try {
    if (decision.type === "incremental") return await planChanges(query, disk, decision);
    if (decision.type === "resume") return await planResume(query, disk, decision);
    return await planFull(query, disk, decision);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    return await planFullInstead(query, disk, changesUnavailable(error));
  }
}

/** A full copy in place of another plan that turned out not to be safe. @throws as `planCopy` */
export async function planFullInstead(
  query: AreaQuery,
  disk: FrozenDisk,
  reason: string,
): Promise<CopyPlan> {
  return await planFull(query, disk, { type: "full", reason });
}

async function planFull(
  query: AreaQuery,
  disk: FrozenDisk,
  decision: Decided<"full">,
): Promise<CopyPlan> {
  const allocated = await allocatedAreas(query, disk);
  return {
    decision,
    syncType: "full",
    // vSphere may leave out what is allocated (restores, tracking that was turned on later, some
    // datastores): its list counts the progress, and the source's own extents say what is to be read.
    extents: undefined,
    plannedAreas: allocated,
    finished: nothing,
    touched: nothing,
  };
}

async function planChanges(
  query: AreaQuery,
  disk: FrozenDisk,
  decision: Decided<"incremental">,
): Promise<CopyPlan> {
  const interrupted = disk.record?.unfinished !== undefined || disk.journal !== undefined;
  // Only where nothing has to be worked out from the whole list can copying begin before its end.
  const changed =
    interrupted || decision.guard === "source"
      ? { first: await changedAreas(query, disk, decision.since) }
      : await readFirstPages(areaPages(query, disk, decision.since));
  return {
    decision,
    syncType: "incremental",
    extents: changed.first,
    ...("rest" in changed && { rest: changed.rest }),
    plannedAreas: changed.first,
    finished: nothing,
    touched: interrupted ? changed.first : nothing,
  };
}

/**
 * What was never finished, and what changed since the interrupted run's snapshot. A finished range
 * that changed since is no longer finished.
 */
async function planResume(
  query: AreaQuery,
  disk: FrozenDisk,
  decision: Decided<"resume">,
): Promise<CopyPlan> {
  const sinceBase = await changedAreas(query, disk, decision.base);
  const finished = subtract(disk.journal?.finished ?? nothing, sinceBase);
  if (decision.mode === "incremental") {
    const sinceStart = await changedAreas(query, disk, decision.since ?? decision.base);
    const planned = union(sinceStart, sinceBase);
    return {
      decision,
      syncType: "incremental",
      extents: subtract(planned, finished),
      plannedAreas: planned,
      finished,
      touched: planned,
    };
  }
  return {
    decision,
    syncType: "full",
    extents: complement(finished, disk.frozen.capacityBytes),
    plannedAreas: await allocatedAreas(query, disk),
    finished,
    touched: nothing,
  };
}

/** Tells the log and the progress what will be copied; once more when the plan has changed. */
export function announcePlan(
  { diskId, frozen, target, plan }: PlannedDisk,
  tracker: ProgressTracker,
  logger: Logger,
): void {
  const { decision, syncType, plannedAreas, finished } = plan;
  const { capacityBytes } = frozen;
  const { reason } = decision;
  const plannedBytes = plannedAreas ? totalBytes(plannedAreas) : capacityBytes;
  logger.info(
    { disk: diskId, syncType, reason, plannedBytes, target: target.identity },
    `${diskId}: ${decision.type} copy, because ${reason}`,
  );
  const done = plannedAreas ? intersect(plannedAreas, finished) : finished;
  const alreadyDoneBytes = totalBytes(done);
  tracker.addDisk({ diskId, syncType, plannedAreas, capacityBytes, alreadyDoneBytes, reason });
}
