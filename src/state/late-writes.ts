import type { StateDatabase } from "./database/database.ts";
import { ensureVmRow, type VmIdentity } from "./vm-identity.ts";

/** A disk's target, as whoever writes to it names it. */
export interface WrittenTarget {
  readonly deviceKey: number;
  /** One text for one export. */
  readonly identity: string;
}

/** Earlier writers of a target of which something may have been under way while others wrote to it. */
export interface EarlierWriters {
  /**
   * Change ID of what the first of them read: where nothing changed since, what arrives late is what is
   * there already. Absent where that is not known: then anything may be wrong anywhere.
   */
  readonly baseChangeId?: string;
  /** Of the last of them; milliseconds since 1970. */
  readonly lastSignMs: number;
}

/** So long after a writer's last sign nothing of it is under way any more (TCP gives up after 16 minutes). */
export const underWayMs = 20 * 60_000;

/**
 * For each target that is written to, or was when a run was interrupted: since which state of the source
 * what was written there may arrive once more. One row for each target; whoever writes holds the VM's
 * lock. Methods throw `state-unusable`.
 */
export class LateWriteStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  /**
   * Notes, before the first byte is written, who writes and what: content of the snapshot with this
   * change ID. Gives the earlier writers that this one has to reckon with.
   */
  begin(
    vm: VmIdentity,
    target: WrittenTarget,
    changeId: string | undefined,
  ): EarlierWriters | undefined {
    return this.#db.transaction("Noting that a target is written to", () => {
      const vmId = ensureVmRow(this.#db, vm);
      const earlier = this.#readEarlier(vmId, target);
      this.#write(vmId, target, earlier ? earlier.baseChangeId : changeId, earlier !== undefined);
      return earlier;
    });
  }

  /** The writer still writes, or has just ended without having looked again. */
  sign(target: Pick<WrittenTarget, "identity">): void {
    this.#db.transaction("Noting that a target is still written to", () => {
      this.#db.run(
        "UPDATE late_write SET last_sign_ms = ? WHERE target = ?",
        Date.now(),
        target.identity,
      );
    });
  }

  /**
   * Of a state that another machine left: when its writers gave their last sign is known by that machine's
   * clock alone, so they count as having given one now.
   */
  signAll(): void {
    this.#db.transaction("Noting that targets may have been written to until now", () => {
      this.#db.run("UPDATE late_write SET last_sign_ms = ?", Date.now());
    });
  }

  /** The writer ended, and no earlier one's writes are over its own. `leaves`: some of its own may be under way. */
  end(vm: VmIdentity, target: WrittenTarget, changeId: string | undefined, leaves: boolean): void {
    this.#db.transaction("Noting that a target is written", () => {
      if (leaves) this.#write(ensureVmRow(this.#db, vm), target, changeId, false);
      else this.#db.run("DELETE FROM late_write WHERE target = ?", target.identity);
    });
  }

  #readEarlier(vmId: number, { deviceKey, identity }: WrittenTarget): EarlierWriters | undefined {
    const row = this.#db.get("SELECT * FROM late_write WHERE target = ?", identity);
    if (row === undefined) return undefined;
    const lastSignMs = row.number("last_sign_ms");
    // What arrived over a later writer's bytes stays wrong, however long ago that was.
    if (Date.now() - lastSignMs > underWayMs && row.number("overlapped") === 0) return undefined;
    const sameDisk = row.number("vm_id") === vmId && row.number("device_key") === deviceKey;
    const baseChangeId = sameDisk ? row.optionalText("base_change_id") : undefined;
    return { lastSignMs, ...(baseChangeId === undefined ? {} : { baseChangeId }) };
  }

  #write(
    vmId: number,
    { deviceKey, identity }: WrittenTarget,
    changeId: string | undefined,
    overlapped: boolean,
  ): void {
    this.#db.run(
      `INSERT OR REPLACE INTO late_write
         (target, vm_id, device_key, base_change_id, overlapped, last_sign_ms)
       VALUES (?, ?, ?, ?, ?, ?)`,
      identity,
      vmId,
      deviceKey,
      changeId ?? null,
      overlapped ? 1 : 0,
      Date.now(),
    );
  }
}
