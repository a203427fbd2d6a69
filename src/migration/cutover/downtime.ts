/** How long the last sync will keep the VM down, told from the sync before it. Pure. */
import type { RunStage } from "../../state/run-record.ts";
import type { CycleSummary } from "../cycle/summary.ts";

export interface DowntimeEstimate {
  /** What the VM changed between the last two snapshots: the last sync's work if it goes on so. */
  readonly deltaBytes: number;
  /** For copying as much at the same rate. */
  readonly copyMs: number;
  /** Everything but the transfer: discovery, snapshots, exports, change IDs. */
  readonly fixedMs: number;
  readonly totalMs: number;
}

/**
 * Undefined after a sync that says nothing about a delta: one that copied a tracked disk whole, or
 * went on with an interrupted copy. A disk without tracking is copied whole the last time, too.
 */
export function estimateDowntime(
  summary: Pick<CycleSummary, "duration_ms" | "disks">,
  stages: readonly Pick<RunStage, "stage" | "durationMs">[],
): DowntimeEstimate | undefined {
  const tellsDelta = summary.disks.every(
    (disk) => !disk.resumed && (disk.sync_type === "incremental" || disk.change_id === undefined),
  );
  if (!tellsDelta) return undefined;
  const deltaBytes = summary.disks.reduce((sum, disk) => sum + disk.planned_bytes, 0);
  const copyMs = stages
    .filter(({ stage }) => stage === "Transfer")
    .reduce((sum, stage) => sum + stage.durationMs, 0);
  const fixedMs = Math.max(0, summary.duration_ms - copyMs);
  return { deltaBytes, copyMs, fixedMs, totalMs: fixedMs + copyMs };
}
