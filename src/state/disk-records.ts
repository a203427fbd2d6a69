import type { StateDatabase } from "./database/database.ts";
import { damaged, type Row } from "./database/row.ts";
import { setPendingUpload } from "./pending-uploads.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "./vm-identity.ts";

/** A range of the target and the hash of what the last good write left there. */
export interface TargetSample {
  readonly offset: number;
  readonly length: number;
  readonly digest: string;
}

/** What is known after a copy of a disk ended well and was flushed. */
export interface FinishedDisk {
  readonly deviceKey: number;
  /** Of the snapshot that the target now equals. */
  readonly changeId: string;
  readonly capacityBytes: number;
  readonly targetUri: string;
  readonly targetSizeBytes: number;
  /** ISO 8601, for people; `sequence` decides what is newer. */
  readonly syncedAt: string;
  readonly samples: readonly TargetSample[];
  /**
   * Set when the OMA API is to get this change ID as well: it is then noted in the same
   * transaction that this is still to be done (`OmaChangeIdStore.write` does it).
   */
  readonly pendingUpload?: { readonly previousChangeId?: string };
}

/** What the state knows of a disk and its target. Absent fields are not known. */
export interface DiskRecord {
  readonly deviceKey: number;
  /** `imported`: a change ID from elsewhere (Go migratekit); nothing is known of its target. */
  readonly origin: "migratekit" | "imported";
  /**
   * The state of the source that the target holds, but for what `unfinished` says. Absent after a
   * full copy was begun and before it finishes: the target then matches no change ID.
   */
  readonly changeId?: string;
  readonly capacityBytes?: number;
  readonly targetUri?: string;
  readonly targetSizeBytes?: number;
  readonly syncedAt?: string;
  readonly samples: readonly TargetSample[];
  /**
   * What was begun on the target since and did not finish, journal or not. `full`: anything may
   * have been written anywhere. `incremental`: only ranges that changed since `changeId`, so an
   * incremental from it stays right, but samples of such ranges say nothing any more.
   */
  readonly unfinished?: "full" | "incremental";
  /** The change ID waits for the OMA API (change-ids.ts). */
  readonly pendingUpload: boolean;
  /** Grows with every write of any record; independent of the clock. */
  readonly sequence: number;
}

/** What the last good write of each disk left. Methods throw `state-unusable`. */
export class DiskRecords {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  readDiskRecord(vm: VmIdentity, deviceKey: number): DiskRecord | undefined {
    return this.#db.view(`Reading the record of disk ${deviceKey}`, () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return undefined;
      const row = this.#db.get(`${selectDisk} AND disk.device_key = ?`, vmId, deviceKey);
      return row === undefined ? undefined : toRecord(row, this.#db.path);
    });
  }

  /** Also disks that the VM no longer has. Ordered by device key. */
  listDisks(vm: VmIdentity): DiskRecord[] {
    return this.#db.view("Listing the known disks", () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return [];
      const rows = this.#db.all(`${selectDisk} ORDER BY disk.device_key`, vmId);
      return rows.map((row) => toRecord(row, this.#db.path));
    });
  }

  /**
   * Stores what a finished copy left, durably, and drops the disk's journal in the same
   * transaction. Call it only when everything is flushed on the target.
   */
  writeDiskRecord(vm: VmIdentity, disk: FinishedDisk): void {
    this.#db.transaction(`Writing the record of disk ${disk.deviceKey}`, () => {
      const vmId = ensureVmRow(this.#db, vm);
      this.#db.run("DELETE FROM journal WHERE vm_id = ? AND device_key = ?", vmId, disk.deviceKey);
      this.#db.run(
        `INSERT OR REPLACE INTO disk (vm_id, device_key, sequence, origin, change_id,
           capacity_bytes, target_uri, target_size_bytes, synced_at, samples, unfinished)
         VALUES (?, ?, ${nextSequence}, 'migratekit', ?, ?, ?, ?, ?, ?, NULL)`,
        vmId,
        disk.deviceKey,
        disk.changeId,
        disk.capacityBytes,
        disk.targetUri,
        disk.targetSizeBytes,
        disk.syncedAt,
        JSON.stringify(disk.samples),
      );
      const { changeId, pendingUpload } = disk;
      const pending = pendingUpload === undefined ? undefined : { ...pendingUpload, changeId };
      setPendingUpload(this.#db, vmId, disk.deviceKey, pending);
    });
  }

  /**
   * Stores a change ID that another program kept (one-time import). Returns false and changes
   * nothing where migratekit's own record exists, which knows more.
   */
  importChangeId(vm: VmIdentity, deviceKey: number, changeId: string): boolean {
    return this.#db.transaction(`Importing the change ID of disk ${deviceKey}`, () => {
      const vmId = ensureVmRow(this.#db, vm);
      return (
        this.#db.run(
          `INSERT INTO disk (vm_id, device_key, sequence, origin, change_id, samples)
           VALUES (?, ?, ${nextSequence}, 'imported', ?, '[]')
           ON CONFLICT (vm_id, device_key) DO UPDATE
             SET sequence = excluded.sequence, change_id = excluded.change_id
             WHERE origin = 'imported' AND unfinished IS NULL`,
          vmId,
          deviceKey,
          changeId,
        ) > 0
      );
    });
  }

  /** Replaces the samples alone, where ranges of the target were repaired to what the record says. */
  replaceSamples(vm: VmIdentity, deviceKey: number, samples: readonly TargetSample[]): void {
    this.#db.transaction(`Writing the samples of disk ${deviceKey}`, () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return;
      this.#db.run(
        `UPDATE disk SET samples = ?, sequence = ${nextSequence}
         WHERE vm_id = ? AND device_key = ?`,
        JSON.stringify(samples),
        vmId,
        deviceKey,
      );
    });
  }

  /**
   * The target did not keep what it was given, so nothing of the record and no journal is true any
   * more: the disk's next copy is a full one, whatever change IDs other stores have.
   */
  distrustDisk(vm: VmIdentity, deviceKey: number): void {
    this.#db.transaction(`Voiding the record of disk ${deviceKey}`, () => {
      const vmId = ensureVmRow(this.#db, vm);
      this.#db.run("DELETE FROM journal WHERE vm_id = ? AND device_key = ?", vmId, deviceKey);
      markUnfinished(this.#db, vmId, deviceKey, { mode: "full" });
    });
  }

  /** Drops everything about a disk: record, journal, pending upload. Its next copy is a full one. */
  forgetDisk(vm: VmIdentity, deviceKey: number): void {
    this.#db.transaction(`Forgetting disk ${deviceKey}`, () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return;
      for (const table of ["journal", "pending_upload", "disk"]) {
        this.#db.run(`DELETE FROM ${table} WHERE vm_id = ? AND device_key = ?`, vmId, deviceKey);
      }
    });
  }
}

const nextSequence = "(SELECT coalesce(max(sequence), 0) + 1 FROM disk)";

const selectDisk = `
  SELECT disk.*, pending_upload.change_id IS NOT NULL AS pending
  FROM disk LEFT JOIN pending_upload USING (vm_id, device_key)
  WHERE disk.vm_id = ?`;

/**
 * Notes, with the journal that begins (journal.ts, same transaction), that the target is about to
 * be written: from here until `writeDiskRecord` the record no longer describes all of it.
 */
export function markUnfinished(
  db: StateDatabase,
  vmId: number,
  deviceKey: number,
  start: { readonly mode: "full" | "incremental"; readonly fromChangeId?: string },
): void {
  if (start.mode === "incremental") {
    // Without a record the change ID is the OMA API's. A full copy begun before stays the worse.
    db.run(
      `INSERT INTO disk (vm_id, device_key, sequence, origin, change_id, samples, unfinished)
       VALUES (?, ?, ${nextSequence}, 'imported', ?, '[]', 'incremental')
       ON CONFLICT (vm_id, device_key) DO UPDATE
         SET unfinished = coalesce(unfinished, 'incremental')`,
      vmId,
      deviceKey,
      start.fromChangeId ?? null,
    );
    return;
  }
  db.run(
    `INSERT INTO disk (vm_id, device_key, sequence, origin, samples, unfinished)
     VALUES (?, ?, ${nextSequence}, 'migratekit', '[]', 'full')
     ON CONFLICT (vm_id, device_key) DO UPDATE
       SET sequence = excluded.sequence, origin = excluded.origin, change_id = NULL,
         samples = '[]', unfinished = 'full'`,
    vmId,
    deviceKey,
  );
  setPendingUpload(db, vmId, deviceKey, undefined);
}

function toRecord(row: Row, path: string): DiskRecord {
  const changeId = row.optionalText("change_id");
  const capacityBytes = row.optionalNumber("capacity_bytes");
  const targetUri = row.optionalText("target_uri");
  const targetSizeBytes = row.optionalNumber("target_size_bytes");
  const syncedAt = row.optionalText("synced_at");
  const unfinished = row.optionalOneOf("unfinished", ["full", "incremental"]);
  return {
    deviceKey: row.number("device_key"),
    origin: row.oneOf("origin", ["migratekit", "imported"]),
    ...(changeId === undefined ? {} : { changeId }),
    ...(capacityBytes === undefined ? {} : { capacityBytes }),
    ...(targetUri === undefined ? {} : { targetUri }),
    ...(targetSizeBytes === undefined ? {} : { targetSizeBytes }),
    ...(syncedAt === undefined ? {} : { syncedAt }),
    samples: parseSamples(row.text("samples"), path),
    ...(unfinished === undefined ? {} : { unfinished }),
    pendingUpload: row.number("pending") === 1,
    sequence: row.number("sequence"),
  };
}

function parseSamples(json: string, path: string): TargetSample[] {
  let values: unknown;
  try {
    values = JSON.parse(json);
  } catch {
    damaged(path, "the samples of a disk are not JSON");
  }
  if (!Array.isArray(values) || !values.every(isSample)) {
    damaged(path, "the samples of a disk have another form");
  }
  return values;
}

function isSample(value: unknown): value is TargetSample {
  if (typeof value !== "object" || value === null) return false;
  if (!("offset" in value && "length" in value && "digest" in value)) return false;
  return (
    Number.isSafeInteger(value.offset) &&
    Number.isSafeInteger(value.length) &&
    typeof value.digest === "string"
  );
}
