import { messageOf } from "../../errors.ts";
import type { RunDisk } from "../../state/run-record.ts";
import type { CopiedDisk } from "../disk.ts";
import type { Site } from "../vm/site.ts";

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

/** Whose summary it is: how the document of any run on a VM begins. */
export function ofRun({ site, runId }: { readonly site: Site; readonly runId: string }) {
  const { vm, vmPath } = site;
  return {
    vm: { path: vmPath, moref: vm.moref, instance_uuid: vm.instanceUuid },
    run_id: runId,
  };
}

/** For `--json`. */
export function summarizeDisk(disk: CopiedDisk): DiskSummary {
  const { diskId, target, frozen, plan, outcome } = disk;
  const result = outcome.status === "completed" ? outcome.result : undefined;
  const done = outcome.status === "completed" ? outcome.result : outcome.done;
  return {
    disk_id: diskId,
    target: target.identity,
    sync_type: plan.syncType,
    resumed: plan.decision.type === "resume",
    reason: plan.decision.reason,
    status: outcome.status,
    ...(outcome.status === "completed" ? {} : { error: messageOf(outcome.error) }),
    capacity_bytes: frozen.capacityBytes,
    planned_bytes: disk.plannedBytes,
    copied_bytes: done.writtenBytes,
    zeroed_bytes: result?.zeroedBytes ?? 0,
    skipped_bytes: result?.skippedBytes ?? 0,
    retries: done.retries,
    duration_ms: Math.round(disk.durationMs),
    ...(result && frozen.changeId !== undefined ? { change_id: frozen.changeId } : {}),
  };
}

/** For the run's history. */
export function runDiskOf(disk: CopiedDisk): RunDisk {
  const summary = summarizeDisk(disk);
  return {
    syncType: summary.sync_type,
    resumed: summary.resumed,
    reason: summary.reason,
    capacityBytes: summary.capacity_bytes,
    plannedBytes: summary.planned_bytes,
    copiedBytes: summary.copied_bytes,
    zeroedBytes: summary.zeroed_bytes,
    skippedBytes: summary.skipped_bytes,
    retries: summary.retries,
    durationMs: summary.duration_ms,
    finished: summary.status === "completed",
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
