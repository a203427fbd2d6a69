import type { StateDatabase } from "./database/database.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "./vm-identity.ts";

/** A change ID that describes the target already and has not reached the OMA API yet. */
export interface PendingUpload {
  readonly changeId: string;
  /** What the OMA API held when the copy began. */
  readonly previousChangeId?: string;
}

/** The one that waits for a disk, or undefined. @throws MigratekitError `state-unusable` */
export function readPendingUpload(
  db: StateDatabase,
  vm: VmIdentity,
  deviceKey: number,
): PendingUpload | undefined {
  return db.view(`Reading the pending change ID of disk ${deviceKey}`, () => {
    const vmId = findVmRow(db, vm);
    if (vmId === undefined) return undefined;
    const sql = "SELECT * FROM pending_upload WHERE vm_id = ? AND device_key = ?";
    const row = db.get(sql, vmId, deviceKey);
    if (row === undefined) return undefined;
    const previousChangeId = row.optionalText("previous_change_id");
    return {
      changeId: row.text("change_id"),
      ...(previousChangeId === undefined ? {} : { previousChangeId }),
    };
  });
}

/** Replaces the disk's older one. */
export function savePendingUpload(
  db: StateDatabase,
  vm: VmIdentity,
  deviceKey: number,
  pending: PendingUpload,
): void {
  db.transaction(`Keeping the change ID of disk ${deviceKey} for the OMA API`, () =>
    setPendingUpload(db, ensureVmRow(db, vm), deviceKey, pending),
  );
}

/** Drops exactly this change ID; a newer one stays. */
export function clearPendingUpload(
  db: StateDatabase,
  vm: VmIdentity,
  deviceKey: number,
  changeId: string,
): void {
  db.transaction(`Noting that the OMA API has the change ID of disk ${deviceKey}`, () => {
    const vmId = findVmRow(db, vm);
    if (vmId === undefined) return;
    const sql = "DELETE FROM pending_upload WHERE vm_id = ? AND device_key = ? AND change_id = ?";
    db.run(sql, vmId, deviceKey, changeId);
  });
}

/** Inside a transaction; undefined drops it. */
export function setPendingUpload(
  db: StateDatabase,
  vmId: number,
  deviceKey: number,
  pending: PendingUpload | undefined,
): void {
  if (pending === undefined) {
    db.run("DELETE FROM pending_upload WHERE vm_id = ? AND device_key = ?", vmId, deviceKey);
    return;
  }
  db.run(
    `INSERT OR REPLACE INTO pending_upload (vm_id, device_key, change_id, previous_change_id, since)
     VALUES (?, ?, ?, ?, ?)`,
    vmId,
    deviceKey,
    pending.changeId,
    pending.previousChangeId ?? null,
    new Date().toISOString(),
  );
}
