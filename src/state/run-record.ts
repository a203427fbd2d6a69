import type { NextStep, RunEnding } from "../ending.ts";
import type { StateDatabase } from "./database/database.ts";
import type { Row } from "./database/row.ts";

export interface RunStart {
  /** migrate, verify, cutover … */
  readonly command: string;
  /** Of migratekit. */
  readonly version: string;
  /** Token of the VmLock under which the run works (lock/lock.ts): tells live runs from dead ones. */
  readonly lockToken: string;
  /** Under which it reports to the VMA API. */
  readonly progressJob?: string;
}

const runStatuses = ["running", "completed", "failed", "interrupted", "died"] as const;
/** `died` is set by a later run that finds a `running` one whose lock is gone. */
export type RunStatus = (typeof runStatuses)[number];

export interface RunResult {
  readonly status: Exclude<RunStatus, "running">;
  readonly errorCode?: string;
  readonly message?: string;
}

/** What was told when the run ended. */
export interface RecordedEnding extends RunEnding {
  readonly next: readonly NextStep[];
}

/** One disk's part of a run. Bytes; written when its copy ends, well or not. */
export interface RunDisk {
  readonly syncType: "full" | "incremental";
  readonly resumed: boolean;
  /** Why this sync type. */
  readonly reason: string;
  readonly capacityBytes: number;
  readonly plannedBytes: number;
  readonly copiedBytes: number;
  readonly zeroedBytes: number;
  readonly skippedBytes: number;
  readonly retries: number;
  readonly durationMs: number;
  readonly finished: boolean;
}

export interface RunStage {
  readonly stage: string;
  readonly startedAt: string;
  readonly durationMs: number;
}

export interface RecordedSnapshot {
  readonly name: string;
  /** Absent from the intent to create it until vCenter has answered. */
  readonly moref?: string;
}

export interface RunRecord extends RunStart {
  readonly runId: string;
  /** Order of start; independent of the clock. */
  readonly sequence: number;
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
  readonly status: RunStatus;
  /** Of a monotonic clock; absent while running and for runs that died. */
  readonly durationMs?: number;
  readonly errorCode?: string;
  readonly message?: string;
  readonly stages: readonly RunStage[];
  readonly disks: readonly (RunDisk & { readonly deviceKey: number })[];
  /** Snapshots not yet known to be removed. */
  readonly snapshots: readonly RecordedSnapshot[];
  /** Absent for runs that are under way or died, and for those of older versions. */
  readonly ending?: RecordedEnding;
}

/** Inside a view or transaction, as it reads the rows that belong to the run. */
export function toRunRecord(db: StateDatabase, row: Row): RunRecord {
  const sequence = row.number("sequence");
  const durationMs = row.optionalNumber("duration_ms");
  const errorCode = row.optionalText("error_code");
  const message = row.optionalText("message");
  const ending = row.optionalText("ending");
  const progressJob = row.optionalText("progress_job");
  return {
    runId: row.text("id"),
    sequence,
    command: row.text("command"),
    version: row.text("version"),
    lockToken: row.text("lock_token"),
    ...(progressJob === undefined ? {} : { progressJob }),
    pid: row.number("pid"),
    host: row.text("host"),
    startedAt: row.text("started_at"),
    status: row.oneOf("status", runStatuses),
    ...(durationMs === undefined ? {} : { durationMs }),
    ...(errorCode === undefined ? {} : { errorCode }),
    ...(message === undefined ? {} : { message }),
    stages: db.all(selectStages, sequence).map(toStage),
    disks: db.all(selectDisks, sequence).map(toDisk),
    snapshots: db.all(selectSnapshots, sequence).map(toSnapshot),
    ...(ending === undefined ? {} : { ending: JSON.parse(ending) as RecordedEnding }),
  };
}

const selectStages = "SELECT * FROM run_stage WHERE run_sequence = ? ORDER BY position";
const selectDisks = "SELECT * FROM run_disk WHERE run_sequence = ? ORDER BY device_key";
const selectSnapshots =
  "SELECT * FROM run_snapshot WHERE run_sequence = ? AND finished = 0 ORDER BY name";

function toStage(row: Row): RunStage {
  return {
    stage: row.text("stage"),
    startedAt: row.text("started_at"),
    durationMs: row.number("duration_ms"),
  };
}

function toDisk(row: Row): RunDisk & { deviceKey: number } {
  return {
    deviceKey: row.number("device_key"),
    syncType: row.oneOf("sync_type", ["full", "incremental"]),
    resumed: row.number("resumed") === 1,
    reason: row.text("reason"),
    capacityBytes: row.number("capacity_bytes"),
    plannedBytes: row.number("planned_bytes"),
    copiedBytes: row.number("copied_bytes"),
    zeroedBytes: row.number("zeroed_bytes"),
    skippedBytes: row.number("skipped_bytes"),
    retries: row.number("retries"),
    durationMs: row.number("duration_ms"),
    finished: row.number("finished") === 1,
  };
}

function toSnapshot(row: Row): RecordedSnapshot {
  const moref = row.optionalText("moref");
  return { name: row.text("name"), ...(moref === undefined ? {} : { moref }) };
}
