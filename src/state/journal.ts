import { findRangeFault, merge, normalize } from "../ranges.ts";
import type { StateDatabase } from "./database/database.ts";
import { damaged, type Row } from "./database/row.ts";
import { markUnfinished } from "./disk-records.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "./vm-identity.ts";

/** What a copy is, as far as a later run must know to go on with it. */
export interface JournalStart {
  readonly mode: "full" | "incremental";
  /** Change ID of the snapshot that this copy reads: finished ranges hold its state. */
  readonly baseChangeId: string;
  /** Incremental: the change ID that it started from, i.e. the state of everything it leaves out. */
  readonly fromChangeId?: string;
  readonly capacityBytes: number;
  readonly targetUri: string;
  readonly targetSizeBytes: number;
  /** ISO 8601, for people. */
  readonly startedAt: string;
  readonly runId: string;
}

export interface Journal extends JournalStart {
  /** Pairs [offset, length, …]: flushed on the target. Sorted, disjoint, neighbours merged. */
  readonly finished: Float64Array;
}

/** More segments than this become one; so reading a journal back stays quick. */
const maxSegments = 64;

/**
 * The resume journal: one per disk, from the moment before the first byte is written until
 * `DiskRecords.writeDiskRecord`. The holder of the VM's lock is its only writer. Methods throw
 * `state-unusable`; a failed write leaves the journal as it was, so a checkpoint that failed
 * (disk full) may be tried again with the next one's ranges added.
 */
export class JournalStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  openJournal(vm: VmIdentity, deviceKey: number): Journal | undefined {
    return this.#db.view(`Reading the resume journal of disk ${deviceKey}`, () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return undefined;
      const row = this.#db.get(selectJournal, vmId, deviceKey);
      if (row === undefined) return undefined;
      const start = toStart(row);
      const finished = this.#readFinished(vmId, deviceKey, start.capacityBytes);
      return { ...start, finished };
    });
  }

  /**
   * Begins a copy: replaces the disk's journal in one transaction, so that a resumed copy takes
   * over what is still true of the old one (`finished`) or the old one stays. Also
   * notes on the disk's record that its target is being written (`unfinished`).
   */
  startJournal(
    vm: VmIdentity,
    deviceKey: number,
    start: JournalStart,
    finished: Float64Array = new Float64Array(),
  ): void {
    assertRanges(finished, start.capacityBytes);
    this.#db.transaction(`Starting the resume journal of disk ${deviceKey}`, () => {
      const vmId = ensureVmRow(this.#db, vm);
      this.#db.run(deleteJournal, vmId, deviceKey);
      this.#db.run(
        `INSERT INTO journal (vm_id, device_key, run_id, mode, base_change_id, from_change_id,
           capacity_bytes, target_uri, target_size_bytes, started_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        vmId,
        deviceKey,
        start.runId,
        start.mode,
        start.baseChangeId,
        start.fromChangeId ?? null,
        start.capacityBytes,
        start.targetUri,
        start.targetSizeBytes,
        start.startedAt,
      );
      this.#addSegment(vmId, deviceKey, normalize(finished));
      markUnfinished(this.#db, vmId, deviceKey, start);
    });
  }

  /** Adds ranges that a flush on the target has covered. */
  appendFinished(vm: VmIdentity, deviceKey: number, ranges: Float64Array): void {
    this.#db.transaction(`Writing the resume journal of disk ${deviceKey}`, () => {
      const vmId = findVmRow(this.#db, vm);
      const row = vmId === undefined ? undefined : this.#db.get(selectJournal, vmId, deviceKey);
      if (vmId === undefined || row === undefined) {
        throw new Error(`Disk ${deviceKey} has no journal to append to`);
      }
      const capacityBytes = row.number("capacity_bytes");
      assertRanges(ranges, capacityBytes);
      this.#addSegment(vmId, deviceKey, normalize(ranges));
      this.#compact(vmId, deviceKey, capacityBytes);
    });
  }

  /** Forgets an interrupted copy. The disk's record goes on saying that one was begun. */
  discardJournal(vm: VmIdentity, deviceKey: number): void {
    this.#db.transaction(`Discarding the resume journal of disk ${deviceKey}`, () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId !== undefined) this.#db.run(deleteJournal, vmId, deviceKey);
    });
  }

  #addSegment(vmId: number, deviceKey: number, ranges: Float64Array): void {
    if (ranges.length === 0) return;
    this.#db.run(
      `INSERT INTO journal_segment (vm_id, device_key, sequence, ranges)
       SELECT ?1, ?2, coalesce(max(sequence), 0) + 1, ?3
       FROM journal_segment WHERE vm_id = ?1 AND device_key = ?2`,
      vmId,
      deviceKey,
      new Uint8Array(ranges.buffer, ranges.byteOffset, ranges.byteLength),
    );
  }

  #compact(vmId: number, deviceKey: number, capacityBytes: number): void {
    const where = "FROM journal_segment WHERE vm_id = ? AND device_key = ?";
    const count = this.#db.get(`SELECT count(*) AS segments ${where}`, vmId, deviceKey);
    if (count === undefined || count.number("segments") <= maxSegments) return;
    const finished = this.#readFinished(vmId, deviceKey, capacityBytes);
    this.#db.run(`DELETE ${where}`, vmId, deviceKey);
    this.#addSegment(vmId, deviceKey, finished);
  }

  #readFinished(vmId: number, deviceKey: number, capacityBytes: number): Float64Array {
    const sql = "SELECT ranges FROM journal_segment WHERE vm_id = ? AND device_key = ?";
    const segments = this.#db.all(sql, vmId, deviceKey).map((row) => {
      const bytes = row.bytes("ranges");
      if (bytes.length % 16 !== 0) damaged(this.#db.path, "a journal segment is cut short");
      const ranges = new Float64Array(bytes.slice().buffer);
      const fault = findRangeFault(ranges, capacityBytes);
      if (fault !== undefined) damaged(this.#db.path, `a journal segment has ${fault}`);
      return ranges;
    });
    return merge(segments);
  }
}

const selectJournal = "SELECT * FROM journal WHERE vm_id = ? AND device_key = ?";
const deleteJournal = "DELETE FROM journal WHERE vm_id = ? AND device_key = ?";

function toStart(row: Row): JournalStart {
  const fromChangeId = row.optionalText("from_change_id");
  return {
    mode: row.oneOf("mode", ["full", "incremental"]),
    baseChangeId: row.text("base_change_id"),
    ...(fromChangeId === undefined ? {} : { fromChangeId }),
    capacityBytes: row.number("capacity_bytes"),
    targetUri: row.text("target_uri"),
    targetSizeBytes: row.number("target_size_bytes"),
    startedAt: row.text("started_at"),
    runId: row.text("run_id"),
  };
}

/** A wrong range here is a mistake in the program and must not become durable. */
function assertRanges(ranges: Float64Array, capacityBytes: number): void {
  const fault = findRangeFault(ranges, capacityBytes);
  if (fault !== undefined) throw new Error(`Not to be journaled: ${fault}`);
}
