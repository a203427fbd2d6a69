/** The newest rehearsal of each VM, as long as it says something. */
import type { StateDatabase } from "../database/database.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "../vm-identity.ts";

export interface StoredRehearsal {
  readonly runId: string;
  /** ISO 8601 */
  readonly at: string;
  /** As its JSON has it: boots, converts, unclear, will-not-boot. */
  readonly verdict: string;
  /** Of the rehearsal, as its JSON says it. */
  readonly result: unknown;
}

/** Methods throw `state-unusable`. */
export class RehearsalStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  read(vm: VmIdentity): StoredRehearsal | undefined {
    return this.#db.view("Looking how the VM's rehearsal went", () => {
      const vmId = findVmRow(this.#db, vm);
      const row = vmId && this.#db.get("SELECT * FROM rehearsal WHERE vm_id = ?", vmId);
      if (!row) return undefined;
      const [runId, at, verdict] = [row.text("run_id"), row.text("at"), row.text("verdict")];
      return { runId, at, verdict, result: row.json("result") };
    });
  }

  /** Takes the place of the one before. */
  write(vm: VmIdentity, { runId, verdict, result }: Omit<StoredRehearsal, "at">): void {
    this.#db.transaction("Noting how the VM's rehearsal went", () =>
      this.#db.run(
        `INSERT OR REPLACE INTO rehearsal (vm_id, run_id, at, verdict, result)
         VALUES (?, ?, ?, ?, ?)`,
        ensureVmRow(this.#db, vm),
        runId,
        new Date().toISOString(),
        verdict,
        JSON.stringify(result),
      ),
    );
  }
}
