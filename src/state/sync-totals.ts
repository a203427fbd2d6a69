/** What became of each VM's syncs, added up: the numbers behind the metrics. */
import type { StateDatabase } from "./database/database.ts";
import type { Row } from "./database/row.ts";
import { toIdentity, type VmIdentity } from "./vm-identity.ts";

export interface VmTotals extends VmIdentity {
  /** Ended syncs only. */
  readonly lastRun?: RunEnding;
  readonly lastSuccess?: RunEnding;
  /** Failed or dead syncs since the state began; never goes down. */
  readonly failures: number;
  readonly disks: readonly DiskTotals[];
}

export interface RunEnding {
  readonly endedAtMs: number;
  readonly durationMs: number;
  readonly completed: boolean;
}

/** A disk's newest finished copy. */
export interface DiskTotals {
  readonly deviceKey: number;
  readonly failures: number;
  readonly last?: {
    readonly endedAtMs: number;
    readonly syncType: "full" | "incremental";
    readonly capacityBytes: number;
    readonly plannedBytes: number;
    readonly copiedBytes: number;
    readonly zeroedBytes: number;
    readonly retries: number;
    readonly durationMs: number;
  };
}

const isSync = "run.command IN ('migrate', 'cutover')";
/** Stands for the VM as a whole. */
const wholeVm = -1;

/** Of every VM that the state knows, in the order in which they were first seen. */
export function readSyncTotals(db: StateDatabase): VmTotals[] {
  return db.view("Adding up the past runs", () =>
    db.all("SELECT * FROM vm ORDER BY id").map((row) => vmTotals(db, row)),
  );
}

/** Counts the failure of a run that has just ended, and those of its disks. In a transaction. */
export function countFailure(db: StateDatabase, runId: string): void {
  db.run(
    `INSERT INTO failure_count (vm_id, device_key, failures)
       SELECT vm_id, ${wholeVm}, 1 FROM run WHERE id = ?1 AND ${isSync}
       UNION ALL
       SELECT vm_id, device_key, 1 FROM run_disk JOIN run ON run.sequence = run_sequence
       WHERE run.id = ?1 AND finished = 0 AND ${isSync}
     ON CONFLICT (vm_id, device_key) DO UPDATE SET failures = failures + 1`,
    runId,
  );
}

function vmTotals(db: StateDatabase, row: Row): VmTotals {
  const vmId = row.number("id");
  const last = runEnding(db, vmId, "status <> 'running'");
  const success = runEnding(db, vmId, "status = 'completed'");
  const failures = new Map(
    db
      .all("SELECT device_key, failures FROM failure_count WHERE vm_id = ?", vmId)
      .map((count) => [count.number("device_key"), count.number("failures")]),
  );
  const copies = new Map(
    db.all(selectCopies, vmId).map((copy) => [copy.number("device_key"), lastCopy(copy)]),
  );
  const keys = new Set([...copies.keys(), ...failures.keys()]);
  keys.delete(wholeVm);
  return {
    ...toIdentity(row),
    ...(last && { lastRun: last }),
    ...(success && { lastSuccess: success }),
    failures: failures.get(wholeVm) ?? 0,
    disks: [...keys]
      .sort((a, b) => a - b)
      .map((deviceKey) => {
        const copy = copies.get(deviceKey);
        return { deviceKey, failures: failures.get(deviceKey) ?? 0, ...(copy && { last: copy }) };
      }),
  };
}

function runEnding(db: StateDatabase, vmId: number, condition: string): RunEnding | undefined {
  const row = db.get(
    `SELECT started_at, duration_ms, status = 'completed' AS completed FROM run
     WHERE vm_id = ? AND ${isSync} AND ${condition} ORDER BY sequence DESC LIMIT 1`,
    vmId,
  );
  if (row === undefined) return undefined;
  const durationMs = row.optionalNumber("duration_ms") ?? 0;
  return {
    endedAtMs: Date.parse(row.text("started_at")) + durationMs,
    durationMs,
    completed: row.number("completed") === 1,
  };
}

/** With max() the other columns are those of its row: https://sqlite.org/lang_select.html */
const selectCopies = `
  SELECT run_disk.*, run.started_at AS run_started_at, run.duration_ms AS run_duration_ms,
    max(run.sequence)
  FROM run_disk JOIN run ON run.sequence = run_disk.run_sequence
  WHERE run.vm_id = ? AND run_disk.finished = 1 AND ${isSync}
  GROUP BY run_disk.device_key`;

function lastCopy(row: Row): NonNullable<DiskTotals["last"]> {
  const runMs = row.optionalNumber("run_duration_ms") ?? row.number("duration_ms");
  return {
    endedAtMs: Date.parse(row.text("run_started_at")) + runMs,
    syncType: row.oneOf("sync_type", ["full", "incremental"]),
    capacityBytes: row.number("capacity_bytes"),
    plannedBytes: row.number("planned_bytes"),
    copiedBytes: row.number("copied_bytes"),
    zeroedBytes: row.number("zeroed_bytes"),
    retries: row.number("retries"),
    durationMs: row.number("duration_ms"),
  };
}
