import { StateDatabase } from "./database/database.ts";
import { DiskRecords } from "./disk-records.ts";
import { JournalStore } from "./journal.ts";
import { RunStore } from "./runs.ts";
import { readSyncTotals, type VmTotals } from "./sync-totals.ts";
import { TrustStore } from "./trust.ts";
import { listVms, type VmIdentity } from "./vm-identity.ts";

/** The open state, as one thing to hold: its database and all that is kept there. */
export class State implements Disposable {
  readonly database: StateDatabase;
  readonly records: DiskRecords;
  readonly journals: JournalStore;
  readonly runs: RunStore;
  readonly trust: TrustStore;

  private constructor(database: StateDatabase) {
    this.database = database;
    this.records = new DiskRecords(database);
    this.journals = new JournalStore(database);
    this.runs = new RunStore(database);
    this.trust = new TrustStore(database);
  }

  /** For a run: makes the directory and the database where they are missing. @throws `state-unusable` */
  static open(stateDir: string): State {
    return new State(StateDatabase.open(stateDir));
  }

  /** Only to look at it: undefined where there is none yet. @throws `state-unusable` */
  static openExisting(stateDir: string): State | undefined {
    const database = StateDatabase.openExisting(stateDir);
    return database && new State(database);
  }

  /** Every VM that the state knows, in the order in which they were first seen. */
  listVms(): VmIdentity[] {
    return listVms(this.database);
  }

  /** What became of each VM's syncs, in the same order. */
  syncTotals(): VmTotals[] {
    return readSyncTotals(this.database);
  }

  /** May be called twice. */
  close(): void {
    this.database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
