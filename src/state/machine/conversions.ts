/** How far a conversion's way to a VM's targets is: what a later command must know, however the one before it ended. */
import type { StateDatabase } from "../database/database.ts";
import type { Row } from "../database/row.ts";
import { markUnfinished } from "../disk-records.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "../vm-identity.ts";

/**
 * `keeping`: the targets are as they were, and the folder is nobody's once its run has ended. `applying`
 * and `rolling-back`: the targets are between; the folder is complete. `converted`: all targets are.
 */
const phases = ["keeping", "applying", "converted", "rolling-back"] as const;
export type ConversionPhase = (typeof phases)[number];

export interface StoredConversion {
  readonly runId: string;
  readonly phase: ConversionPhase;
  /** ISO 8601: since when it is in this phase. */
  readonly since: string;
  /** Where the old bytes are; absolute. */
  readonly folder: string;
  /** SHA-256 of the list in the folder; absent while it is being made. */
  readonly listDigest?: string;
  /** Of the conversion, as its JSON says it. */
  readonly result: unknown;
  /** Device keys of the disks whose targets still belong to the VM. */
  readonly disks: readonly number[];
}

/** One conversion for each VM; whoever writes holds the VM's lock. Methods throw `state-unusable`. */
export class ConversionStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  read(vm: VmIdentity): StoredConversion | undefined {
    return this.#db.view("Looking whether the VM was converted", () => {
      const vmId = findVmRow(this.#db, vm);
      const row = vmId && this.#db.get("SELECT * FROM conversion WHERE vm_id = ?", vmId);
      return row ? toConversion(row, this.#keysOf(vmId)) : undefined;
    });
  }

  /** Before the folder is made. */
  begin(
    vm: VmIdentity,
    conversion: Pick<StoredConversion, "runId" | "folder" | "result" | "disks">,
  ): void {
    const { runId, folder, result, disks } = conversion;
    this.#db.transaction("Noting that a conversion is to be applied", () => {
      const vmId = ensureVmRow(this.#db, vm);
      this.#db.run("DELETE FROM conversion WHERE vm_id = ?", vmId);
      this.#db.run(
        `INSERT INTO conversion (vm_id, run_id, phase, since, folder, result)
         VALUES (?, ?, 'keeping', ?, ?, ?)`,
        vmId,
        runId,
        new Date().toISOString(),
        folder,
        JSON.stringify(result),
      );
      const sql = "INSERT INTO conversion_disk (vm_id, device_key) VALUES (?, ?)";
      for (const key of disks) this.#db.run(sql, vmId, key);
    });
  }

  /** From `keeping` on with the digest of the folder's list, which is durable by then. */
  enter(vm: VmIdentity, phase: ConversionPhase, listDigest?: string): void {
    this.#db.transaction("Noting how far a conversion is", () => {
      this.#db.run(
        `UPDATE conversion SET phase = ?, since = ?, list_digest = coalesce(?, list_digest)
         WHERE vm_id = ?`,
        phase,
        new Date().toISOString(),
        listDigest ?? null,
        findVmRow(this.#db, vm) ?? -1,
      );
    });
  }

  /** There is none, and its folder is gone. */
  forget(vm: VmIdentity): void {
    this.#db.transaction("Noting that a conversion is undone", () => {
      this.#db.run("DELETE FROM conversion WHERE vm_id = ?", findVmRow(this.#db, vm) ?? -1);
    });
  }

  /**
   * The old bytes are given up: the next copy of every disk that was to be converted is a full one, and the
   * folder is nobody's.
   */
  giveUp(vm: VmIdentity): void {
    this.#db.transaction("Giving up what a conversion kept", () => {
      const vmId = findVmRow(this.#db, vm);
      if (vmId === undefined) return;
      for (const key of this.#keysOf(vmId)) {
        this.#db.run("DELETE FROM journal WHERE vm_id = ? AND device_key = ?", vmId, key);
        markUnfinished(this.#db, vmId, key, { mode: "full" });
      }
      this.#db.run("UPDATE conversion SET phase = 'keeping' WHERE vm_id = ?", vmId);
    });
  }

  #keysOf(vmId: number): number[] {
    const sql = "SELECT device_key FROM conversion_disk WHERE vm_id = ? ORDER BY device_key";
    return this.#db.all(sql, vmId).map((row) => row.number("device_key"));
  }
}

function toConversion(row: Row, disks: number[]): StoredConversion {
  const listDigest = row.optionalText("list_digest");
  return {
    runId: row.text("run_id"),
    phase: row.oneOf("phase", phases),
    since: row.text("since"),
    folder: row.text("folder"),
    ...(listDigest === undefined ? {} : { listDigest }),
    result: row.json("result"),
    disks,
  };
}
