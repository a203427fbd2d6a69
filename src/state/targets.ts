import { MigratekitError } from "../errors.ts";
import type { StateDatabase } from "./database/database.ts";
import type { Row } from "./database/row.ts";
import { markUnfinished } from "./disk-records.ts";
import { ensureVmRow, findVmRow, toIdentity, type VmIdentity } from "./vm-identity.ts";

/** A target as one disk would use it. */
export interface DiskTarget {
  readonly deviceKey: number;
  /** Every name of this one export that is known, the one that people are shown first. */
  readonly names: readonly string[];
}

/** The disk that a target belongs to. */
export interface TargetOwner {
  readonly vm: VmIdentity;
  readonly deviceKey: number;
  /** ISO 8601; empty where an older state did not tell. */
  readonly since: string;
  /** Absent for what an older state knew. */
  readonly runId?: string;
}

/**
 * Whose every target is: it belongs to the disk that wrote to it first, for good, and only
 * `takeOver` gives it to another. Methods throw `state-unusable`.
 */
export class TargetStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  /** Whether any disk was ever written to it, under any of these names. */
  hasOwner(names: readonly string[]): boolean {
    return this.#db.view("Looking up the target's owner", () =>
      names.some((name) => this.#db.get("SELECT 1 FROM target WHERE name = ?", name) !== undefined),
    );
  }

  /** The other disk that the target belongs to, under any of its names. */
  findOtherOwner(vm: VmIdentity, target: DiskTarget): TargetOwner | undefined {
    return this.#db.view("Looking up the target's owner", () => {
      const row = this.#otherOwner(vm, target);
      return row && toOwner(row);
    });
  }

  /**
   * Makes the target the disk's, before the first byte is written to it.
   * @throws MigratekitError `target-owned`
   */
  claim(vm: VmIdentity, target: DiskTarget, runId: string): void {
    this.#db.transaction("Noting whose the target is", () => {
      const other = this.#otherOwner(vm, target);
      if (other !== undefined) throw ownedByOther(target, toOwner(other));
      this.#give(ensureVmRow(this.#db, vm), target, runId);
    });
  }

  /**
   * Makes the target the disk's, whoever else's it was. Neither disk's record nor journal counts any
   * more: the next copy of each is a full one. Gives the owner of before, if that was another.
   */
  takeOver(vm: VmIdentity, target: DiskTarget, runId: string): TargetOwner | undefined {
    return this.#db.transaction("Noting whose the target is", () => {
      const vmId = ensureVmRow(this.#db, vm);
      let first: TargetOwner | undefined;
      for (let row = this.#otherOwner(vm, target); row; row = this.#otherOwner(vm, target)) {
        first ??= toOwner(row);
        const [otherVmId, otherKey] = [row.number("vm_id"), row.number("device_key")];
        this.#forgetCopies(otherVmId, otherKey);
        this.#forgetCopies(vmId, target.deviceKey);
        for (const name of target.names) {
          this.#db.run(
            "DELETE FROM target WHERE name = ? AND vm_id = ? AND device_key = ?",
            name,
            otherVmId,
            otherKey,
          );
        }
      }
      this.#give(vmId, target, runId);
      return first;
    });
  }

  #give(vmId: number, target: DiskTarget, runId: string): void {
    for (const name of target.names) {
      this.#db.run(
        `INSERT INTO target (name, vm_id, device_key, since, run_id) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET vm_id = excluded.vm_id
         WHERE vm_id <> excluded.vm_id`,
        name,
        vmId,
        target.deviceKey,
        new Date().toISOString(),
        runId,
      );
    }
  }

  /** An owner whose endpoint's UUID is not known yet is the same disk if its VM has the same UUID. */
  #otherOwner(vm: VmIdentity, { deviceKey, names }: DiskTarget): Row | undefined {
    const vmId = findVmRow(this.#db, vm) ?? -1;
    const sql = `
      SELECT target.*, vm.* FROM target JOIN vm ON vm.id = target.vm_id
      WHERE target.name = ?1 AND NOT (
        target.device_key = ?2
        AND (vm.id = ?3 OR (vm.endpoint_uuid IS NULL AND vm.instance_uuid = ?4))
      )`;
    for (const name of names) {
      const row = this.#db.get(sql, name, deviceKey, vmId, vm.instanceUuid.toLowerCase());
      if (row !== undefined) return row;
    }
    return undefined;
  }

  #forgetCopies(vmId: number, deviceKey: number): void {
    this.#db.run("DELETE FROM journal WHERE vm_id = ? AND device_key = ?", vmId, deviceKey);
    // Nor is what a conversion kept of it ever to be brought back.
    this.#db.run("DELETE FROM conversion_disk WHERE vm_id = ? AND device_key = ?", vmId, deviceKey);
    markUnfinished(this.#db, vmId, deviceKey, { mode: "full" });
  }
}

/** The refusal of a target that is another disk's; `target.names[0]` is shown. */
export function ownedByOther(target: DiskTarget, owner: TargetOwner): MigratekitError {
  const { vm, deviceKey, since, runId } = owner;
  const disk = `disk-${deviceKey} of ${vm.vmPath}`;
  const when = since === "" ? "" : ` since ${since}`;
  const run = runId === undefined ? "" : ` (run ${runId})`;
  return new MigratekitError(
    "target-owned",
    `the target ${target.names[0]} of disk-${target.deviceKey} belongs to ${disk} ` +
      `(instance UUID ${vm.instanceUuid}, at ${vm.endpoint})${when}${run}`,
    { context: { owner: vm.vmPath, disk: `disk-${deviceKey}`, since, run: runId } },
  );
}

function toOwner(row: Row): TargetOwner {
  const runId = row.optionalText("run_id");
  return {
    vm: toIdentity(row),
    deviceKey: row.number("device_key"),
    since: row.text("since"),
    ...(runId === undefined ? {} : { runId }),
  };
}
