import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { redact } from "../logger.ts";
import type { StateDatabase } from "./database/database.ts";
import {
  type RecordedEnding,
  type RecordedSnapshot,
  type RunDisk,
  type RunRecord,
  type RunResult,
  type RunStart,
  toRunRecord,
} from "./run-record.ts";
import { countFailure } from "./sync-totals.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "./vm-identity.ts";

/** Runs kept per VM; the last good one and those with a snapshot to be removed are kept beyond it. */
export const maxRunsPerVm = 500;

/** Past and present runs: for history, metrics, estimates and the clean-up after dead runs. */
export class RunStore {
  readonly #db: StateDatabase;
  /** Start of this process's own runs on the monotonic clock. */
  readonly #startedMs = new Map<string, number>();

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  /** Returns the run's ID. Drops the oldest runs of the VM beyond `maxRunsPerVm`. */
  startRun(vm: VmIdentity, start: RunStart): string {
    const runId = randomUUID();
    this.#db.transaction("Recording the start of the run", () => {
      const vmId = ensureVmRow(this.#db, vm);
      this.#db.run(
        `INSERT INTO run
           (id, vm_id, command, version, lock_token, progress_job, pid, host, started_at, status)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'running')`,
        runId,
        vmId,
        start.command,
        start.version,
        start.lockToken,
        start.progressJob ?? null,
        process.pid,
        hostname(),
        new Date().toISOString(),
      );
      this.#prune(vmId);
    });
    this.#startedMs.set(runId, performance.now());
    return runId;
  }

  /** `durationMs` comes from a monotonic clock. */
  recordStage(runId: string, stage: string, startedAt: string, durationMs: number): void {
    this.#db.transaction("Recording a stage of the run", () => {
      this.#db.run(
        `INSERT INTO run_stage (run_sequence, position, stage, started_at, duration_ms)
         SELECT run.sequence, count(run_stage.position), ?2, ?3, ?4
         FROM run LEFT JOIN run_stage ON run_stage.run_sequence = run.sequence
         WHERE run.id = ?1 GROUP BY run.sequence`,
        runId,
        stage,
        startedAt,
        durationMs,
      );
    });
  }

  /** Once with the name alone before the snapshot is made, once with its moref before it is used. */
  recordSnapshot(runId: string, snapshot: RecordedSnapshot): void {
    this.#db.transaction("Recording the snapshot", () => {
      this.#db.run(
        `INSERT INTO run_snapshot (run_sequence, name, moref)
         SELECT sequence, ?2, ?3 FROM run WHERE id = ?1
         ON CONFLICT (run_sequence, name) DO UPDATE SET moref = excluded.moref`,
        runId,
        snapshot.name,
        snapshot.moref ?? null,
      );
    });
  }

  /** The snapshot is gone (or was never made). Without a name: all of the run's. */
  finishSnapshot(runId: string, name?: string): void {
    this.#db.transaction("Recording the removal of the snapshot", () => {
      this.#db.run(
        `UPDATE run_snapshot SET finished = 1
         WHERE run_sequence = (SELECT sequence FROM run WHERE id = ?1)
           AND (?2 IS NULL OR name = ?2)`,
        runId,
        name ?? null,
      );
    });
  }

  /** Called again for the same disk, it replaces. */
  recordDisk(runId: string, deviceKey: number, disk: RunDisk): void {
    this.#db.transaction("Recording a disk of the run", () => {
      this.#db.run(
        `INSERT OR REPLACE INTO run_disk (run_sequence, device_key, sync_type, resumed, reason,
           capacity_bytes, planned_bytes, copied_bytes, zeroed_bytes, skipped_bytes, retries,
           duration_ms, finished)
         SELECT sequence, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
         FROM run WHERE id = ?1`,
        runId,
        deviceKey,
        disk.syncType,
        disk.resumed ? 1 : 0,
        disk.reason,
        disk.capacityBytes,
        disk.plannedBytes,
        disk.copiedBytes,
        disk.zeroedBytes,
        disk.skippedBytes,
        disk.retries,
        disk.durationMs,
        disk.finished ? 1 : 0,
      );
    });
  }

  /** Ends a run once; a second call changes nothing. */
  finishRun(runId: string, end: RunResult, ending?: RecordedEnding): void {
    const startedMs = this.#startedMs.get(runId);
    this.#db.transaction("Recording the end of the run", () => {
      const changed = this.#db.run(
        `UPDATE run SET status = ?, error_code = ?, message = ?, duration_ms = ?, ending = ?
         WHERE id = ? AND status = 'running'`,
        end.status,
        end.errorCode ?? null,
        end.message ?? null,
        startedMs === undefined ? null : performance.now() - startedMs,
        ending === undefined ? null : JSON.stringify(ending, withoutSecrets),
        runId,
      );
      if (changed > 0 && (end.status === "failed" || end.status === "died")) {
        countFailure(this.#db, runId);
      }
    });
    this.#startedMs.delete(runId);
  }

  /** Newest first. */
  listRuns(vm: VmIdentity, limit = 20): RunRecord[] {
    return this.#select(vm, "1", limit);
  }

  /** The newest completed run of one of these commands. */
  lastCompleted(vm: VmIdentity, commands: readonly string[]): RunRecord | undefined {
    const ofThem = "status = 'completed' AND command IN (SELECT value FROM json_each(?))";
    return this.#select(vm, ofThem, 1, JSON.stringify(commands))[0];
  }

  /** The newest run that saw every disk of its VM equal to the snapshot: a `verify`, or a sync with `--verify`. */
  lastVerified(vm: VmIdentity): RunRecord | undefined {
    const allEqual = `json_array_length(ending, '$.disks') > 0 AND NOT EXISTS (
      SELECT 1 FROM json_each(ending, '$.disks')
      WHERE json_extract(value, '$.verification.result') IS NOT 'equal')`;
    return this.#select(vm, `status = 'completed' AND (command = 'verify' OR (${allEqual}))`, 1)[0];
  }

  /** Newest first; for estimates and metrics. */
  lastSuccessfulRuns(vm: VmIdentity, limit = 10): RunRecord[] {
    return this.#select(vm, "status = 'completed'", limit);
  }

  /**
   * Runs that say `running` but whose process no longer holds the VM's lock. `holder` is the
   * caller's own lock or what `isVmLocked` answered; undefined: nobody holds it.
   */
  deadRuns(vm: VmIdentity, holder: { readonly token: string } | undefined): RunRecord[] {
    return this.#select(vm, "status = 'running'").filter((run) => !isLive(run, holder));
  }

  /** Runs that are not live and left a snapshot: dead ones, and ended ones that failed to remove it. */
  runsWithLeftoverSnapshots(
    vm: VmIdentity,
    holder: { readonly token: string } | undefined,
  ): RunRecord[] {
    const unfinished =
      "EXISTS (SELECT 1 FROM run_snapshot WHERE run_sequence = run.sequence AND finished = 0)";
    return this.#select(vm, unfinished).filter((run) => !isLive(run, holder));
  }

  #select(vm: VmIdentity, condition: string, limit = -1, ...values: string[]): RunRecord[] {
    return this.#db.view("Reading the past runs", () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return [];
      const sql = `SELECT * FROM run WHERE vm_id = ? AND ${condition}
        ORDER BY sequence DESC LIMIT ?`;
      return this.#db.all(sql, vmId, ...values, limit).map((row) => toRunRecord(this.#db, row));
    });
  }

  #prune(vmId: number): void {
    this.#db.run(
      `DELETE FROM run WHERE vm_id = ?1 AND status <> 'running'
         AND sequence <= (SELECT sequence FROM run WHERE vm_id = ?1
                          ORDER BY sequence DESC LIMIT 1 OFFSET ?2)
         AND NOT EXISTS (SELECT 1 FROM run_snapshot
                         WHERE run_sequence = run.sequence AND finished = 0)
         AND sequence <> coalesce((SELECT max(sequence) FROM run
                                   WHERE vm_id = ?1 AND status = 'completed'), -1)`,
      vmId,
      maxRunsPerVm,
    );
  }
}

/** A peer may have put into a message what it was sent. */
function withoutSecrets(_: string, value: unknown): unknown {
  return typeof value === "string" ? redact(value) : value;
}

function isLive(run: RunRecord, holder: { readonly token: string } | undefined): boolean {
  if (run.status !== "running" || holder === undefined) return false;
  // An empty token: somebody holds the lock and has not said who. Take no run for dead then.
  return holder.token === "" || holder.token === run.lockToken;
}
