import type { CopyResult } from "../../nbd/copy-engine/copy-engine.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import type { CopyPlan } from "./plan.ts";

/** What became of one disk; part of `--json`, so names and units are an interface. */
export interface DiskSummary {
  readonly disk_id: string;
  readonly target: string;
  readonly sync_type: "full" | "incremental";
  readonly resumed: boolean;
  readonly reason: string;
  readonly status: "completed" | "failed" | "interrupted";
  readonly error?: string;
  readonly capacity_bytes: number;
  /** Allocated (full) or changed (incremental), of which interrupted runs may have done a part. */
  readonly planned_bytes: number;
  /** Bytes of data written to the target. */
  readonly copied_bytes: number;
  /** Bytes made zero on the target without sending them. */
  readonly zeroed_bytes: number;
  /** Bytes that the target already held, known to be zero. */
  readonly skipped_bytes: number;
  readonly retries: number;
  readonly duration_ms: number;
  readonly change_id?: string;
}

export interface CycleSummary {
  readonly vm: { readonly path: string; readonly moref: string; readonly instance_uuid: string };
  readonly run_id: string;
  readonly sync_type: "full" | "incremental";
  readonly quiesced: boolean;
  readonly started_at: string;
  readonly duration_ms: number;
  readonly disks: readonly DiskSummary[];
}

export type DiskOutcome =
  | { readonly status: "completed"; readonly result: CopyResult }
  | { readonly status: "failed" | "interrupted"; readonly error: string };

export function summarizeDisk(
  disk: CycleDisk,
  plan: CopyPlan,
  outcome: DiskOutcome,
  plannedBytes: number,
  durationMs: number,
): DiskSummary {
  const result = outcome.status === "completed" ? outcome.result : undefined;
  return {
    disk_id: disk.diskId,
    target: disk.targetFacts.uri,
    sync_type: plan.syncType,
    resumed: plan.decision.type === "resume",
    reason: plan.reason,
    status: outcome.status,
    ...(outcome.status === "completed" ? {} : { error: outcome.error }),
    capacity_bytes: disk.frozen.capacityBytes,
    planned_bytes: plannedBytes,
    copied_bytes: result?.writtenBytes ?? 0,
    zeroed_bytes: result?.zeroedBytes ?? 0,
    skipped_bytes: result?.skippedBytes ?? 0,
    retries: result?.retries ?? 0,
    duration_ms: Math.round(durationMs),
    ...(result && disk.frozen.changeId !== undefined ? { change_id: disk.frozen.changeId } : {}),
  };
}

/** A run is full as soon as one of its disks is. */
export function syncTypeOf(disks: readonly { sync_type: "full" | "incremental" }[]) {
  return disks.some((disk) => disk.sync_type === "full") ? "full" : "incremental";
}

/** Bytes of data written to all targets. */
export function copiedBytes({ disks }: Pick<CycleSummary, "disks">): number {
  return disks.reduce((sum, disk) => sum + disk.copied_bytes, 0);
}
