/** The bodies of progress updates, field by field as the VMA API's contract has them. */
import { type Ending, noFigures } from "../../ending.ts";
import { redact } from "../../logger.ts";
import {
  type Amounts,
  type DiskProgress,
  type ProgressSnapshot,
  percentBeforeEnd,
  type Stage,
  type SyncType,
} from "../progress.ts";

export interface VmaUpdate {
  readonly stage: Stage;
  readonly status: "in_progress" | "completed" | "failed";
  readonly bytes_transferred: number;
  readonly total_bytes: number;
  readonly throughput_bps: number;
  readonly percent: number;
  /** Absent on updates of the whole job. */
  readonly disk_id?: string;
  /** Absent until it is decided. */
  readonly sync_type?: SyncType;
  /** Our addition: why a disk that was synced before is copied in full. Services ignore it if unknown. */
  readonly sync_reason?: string;
  readonly error_message?: string;
  /** Our additions to the last update: what the closing summary says. */
  readonly read_bytes?: number;
  readonly written_bytes?: number;
  readonly zeroed_bytes?: number;
  readonly unchanged_bytes?: number;
  readonly compared_bytes?: number;
  readonly rate_bps?: number;
  readonly verification?: "equal" | "different";
  readonly snapshot?: "none" | "removed" | "left";
  readonly journal_bytes?: number;
  readonly exit_code?: number;
  readonly next?: string;
}

export interface JobEnd {
  readonly status: "completed" | "failed";
  readonly errorMessage?: string;
  readonly ending?: Ending;
}

const errorMessageLengthMax = 2000;

/** Of one disk: never anything but `in_progress`, because the poller closes the job on the first end. */
export function diskUpdate(stage: Stage, disk: DiskProgress): VmaUpdate {
  return {
    stage,
    status: "in_progress",
    disk_id: disk.diskId,
    ...amountFields(disk),
    sync_type: disk.syncType,
    ...(disk.reason === undefined ? {} : { sync_reason: disk.reason }),
  };
}

/**
 * Of the whole job, with the sums of all disks; 100 % is the last update's to say. `told`: what the
 * service took last of each disk. Where that is older than `state` it counts, because the service
 * will add up those very numbers at the next disk's update, and its sum must not fall behind this one.
 */
export function jobUpdate(
  stage: Stage,
  state: ProgressSnapshot,
  told: ReadonlyMap<string, DiskProgress> = new Map(),
): VmaUpdate {
  const { total } = state;
  const transferredBytes = state.disks.reduce((sum, disk) => {
    const toldBytes = told.get(disk.diskId)?.transferredBytes ?? disk.transferredBytes;
    return sum + Math.min(toldBytes, disk.transferredBytes);
  }, 0);
  const percent =
    transferredBytes < total.transferredBytes
      ? Math.floor((transferredBytes / total.totalBytes) * 1000) / 10
      : total.percent;
  return {
    stage,
    status: "in_progress",
    ...amountFields({ ...total, transferredBytes }),
    percent: Math.min(percentBeforeEnd, total.percent, percent),
    ...syncFields(state),
  };
}

/** The last of a job. */
export function lastUpdate(state: ProgressSnapshot, end: JobEnd): VmaUpdate {
  const amounts = amountFields(state.total);
  if (end.status === "completed") {
    return {
      stage: "Complete",
      status: "completed",
      ...amounts,
      percent: 100,
      ...syncFields(state),
      ...endingFields(end.ending),
    };
  }
  return {
    stage: state.stage,
    status: "failed",
    ...amounts,
    ...syncFields(state),
    error_message: (end.errorMessage ?? "migration failed").slice(0, errorMessageLengthMax),
    ...endingFields(end.ending),
  };
}

function endingFields(ending: Ending | undefined): Partial<VmaUpdate> {
  if (ending === undefined) return {};
  const { total, disks = [], run_id, snapshot, exit_code, next } = ending;
  const { planned_bytes: _, ...figures } = total ?? noFigures;
  const verified = disks.flatMap(({ verification }) => (verification ? [verification.result] : []));
  const journals = disks.flatMap(({ journal }) => (journal ? [journal.finished_bytes] : []));
  const command = next.find((step) => step.command !== undefined)?.command;
  return {
    ...(run_id === undefined ? {} : { ...figures, snapshot: snapshot?.state ?? "none" }),
    ...(verified.length === 0
      ? {}
      : { verification: verified.includes("different") ? "different" : "equal" }),
    ...(journals.length === 0 ? {} : { journal_bytes: journals.reduce((a, b) => a + b) }),
    exit_code,
    ...(command === undefined ? {} : { next: redact(command) }),
  };
}

function amountFields(amounts: Amounts) {
  return {
    bytes_transferred: amounts.transferredBytes,
    total_bytes: amounts.totalBytes,
    throughput_bps: amounts.throughputBps,
    percent: amounts.percent,
  };
}

function syncFields(state: ProgressSnapshot): Pick<VmaUpdate, "sync_type" | "sync_reason"> {
  const reasons = state.disks.flatMap((disk) =>
    disk.reason === undefined ? [] : [`${disk.diskId}: ${disk.reason}`],
  );
  return {
    ...(state.syncType === undefined ? {} : { sync_type: state.syncType }),
    ...(reasons.length === 0 ? {} : { sync_reason: reasons.join("; ") }),
  };
}
