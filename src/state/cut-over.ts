import type { StateDatabase } from "./database/database.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "./vm-identity.ts";

/** The cutover after which a VM's volumes are no longer ours to write to. */
export interface CutOver {
  readonly runId: string;
  /** ISO 8601 */
  readonly at: string;
  /** The machine in CloudStack that it made, where it made one. */
  readonly instance?: CutOverInstance;
}

export interface CutOverInstance {
  readonly name: string;
  readonly id: string;
}

/** The cutover that was completed, or undefined. @throws MigratekitError `state-unusable` */
export function readCutOver(db: StateDatabase, vm: VmIdentity): CutOver | undefined {
  return db.view("Looking whether the VM was cut over", () => {
    const vmId = findVmRow(db, vm);
    const row =
      vmId &&
      db.get(
        `SELECT cut_over.run_id, cut_over.at, instance_name, instance_id FROM cut_over
         LEFT JOIN deployment ON deployment.vm_id = cut_over.vm_id AND purpose = 'cutover'
         WHERE cut_over.vm_id = ?`,
        vmId,
      );
    if (!row) return undefined;
    const id = row.optionalText("instance_id");
    const instance = id !== undefined && { instance: { name: row.text("instance_name"), id } };
    return { runId: row.text("run_id"), at: row.text("at"), ...instance };
  });
}

/**
 * From here on runs of the VM are refused, until `clearCutOver`.
 * @throws MigratekitError `state-unusable`
 */
export function markCutOver(db: StateDatabase, vm: VmIdentity, runId: string): void {
  db.transaction("Noting that the VM was cut over", () =>
    db.run(
      "INSERT OR REPLACE INTO cut_over (vm_id, run_id, at) VALUES (?, ?, ?)",
      ensureVmRow(db, vm),
      runId,
      new Date().toISOString(),
    ),
  );
}

/** Lets runs of the VM write to its volumes again. */
export function clearCutOver(db: StateDatabase, vm: VmIdentity): void {
  db.transaction("Noting that the VM is reopened", () => {
    const vmId = findVmRow(db, vm);
    if (vmId !== undefined) db.run("DELETE FROM cut_over WHERE vm_id = ?", vmId);
  });
}
