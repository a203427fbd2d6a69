/** What became of a disk, and of a run, in the words of src/ending.ts. */
import { type DiskEnding, type RunEnding, rateOf } from "../../ending.ts";
import { messageOf } from "../../errors.ts";
import type { RunDisk } from "../../state/run-record.ts";
import type { CopiedDisk, PlannedDisk } from "../disk.ts";

/** Part of `--json`. */
export type DiskSummary = DiskEnding;

/** A run that was completed; part of `--json`. */
export interface CycleSummary extends RunEnding {
  readonly sync_type: "full" | "incremental";
  readonly quiesced: boolean;
}

/** Of a disk whose turn has not come. */
export function plannedEnding(disk: PlannedDisk, plannedBytes: number): DiskEnding {
  const { diskId, target, frozen, plan, tally } = disk;
  return {
    disk_id: diskId,
    target: target.identity,
    sync_type: plan.syncType,
    resumed: plan.decision.type === "resume",
    reason: plan.decision.reason,
    status: "not_started",
    capacity_bytes: frozen.capacityBytes,
    planned_bytes: plannedBytes,
    read_bytes: tally.readBytes,
    written_bytes: tally.writtenBytes,
    zeroed_bytes: tally.zeroedBytes,
    unchanged_bytes: tally.unchangedBytes,
    compared_bytes: tally.comparedBytes,
    rate_bps: rateOf(tally.readBytes, tally.spanMs),
    copied_bytes: tally.writtenBytes,
    skipped_bytes: tally.unchangedBytes,
    retries: tally.retries,
    duration_ms: 0,
  };
}

/** Of a disk whose copy has ended, well or not. */
export function summarizeDisk(disk: CopiedDisk): DiskEnding {
  const { frozen, outcome, verification } = disk;
  const changeId = outcome.status === "completed" ? frozen.changeId : undefined;
  return {
    ...plannedEnding(disk, disk.plannedBytes),
    status: outcome.status,
    ...(outcome.status === "completed" ? {} : { error: messageOf(outcome.error) }),
    duration_ms: Math.round(disk.durationMs),
    ...(verification ? { verification } : {}),
    ...(changeId === undefined ? {} : { change_id: changeId }),
  };
}

/** For the run's history. */
export function runDiskOf(ending: DiskEnding): RunDisk {
  return {
    syncType: ending.sync_type,
    resumed: ending.resumed,
    reason: ending.reason,
    capacityBytes: ending.capacity_bytes,
    plannedBytes: ending.planned_bytes,
    copiedBytes: ending.written_bytes,
    zeroedBytes: ending.zeroed_bytes,
    skippedBytes: ending.unchanged_bytes,
    retries: ending.retries,
    durationMs: ending.duration_ms,
    finished: ending.status === "completed",
  };
}
