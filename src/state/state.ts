import { type CutOver, clearCutOver, markCutOver, readCutOver } from "./cut-over.ts";
import { StateDatabase } from "./database/database.ts";
import { DiskRecords } from "./disk-records.ts";
import { JournalStore } from "./journal.ts";
import { LateWriteStore } from "./late-writes.ts";
import { ConversionStore } from "./machine/conversions.ts";
import { DeploymentStore } from "./machine/deployments.ts";
import { MachineStore } from "./machine/machine.ts";
import { RehearsalStore } from "./machine/rehearsals.ts";
import { RunStore } from "./runs.ts";
import { readSyncHistory, type VmHistory } from "./sync-history.ts";
import { readSyncTotals, type VmTotals } from "./sync-totals.ts";
import { TargetStore } from "./targets.ts";
import { TrustStore } from "./trust.ts";
import { findKnownVm, findVmOfJob, listVms, listVmsAt, type VmIdentity } from "./vm-identity.ts";

/** The open state, as one thing to hold: its database and all that is kept there. */
export class State implements Disposable {
  readonly database: StateDatabase;
  readonly records: DiskRecords;
  readonly machines: MachineStore;
  readonly conversions: ConversionStore;
  readonly rehearsals: RehearsalStore;
  readonly deployments: DeploymentStore;
  readonly journals: JournalStore;
  readonly lateWrites: LateWriteStore;
  readonly runs: RunStore;
  readonly targets: TargetStore;
  readonly trust: TrustStore;

  private constructor(database: StateDatabase) {
    this.database = database;
    this.records = new DiskRecords(database);
    this.machines = new MachineStore(database);
    this.conversions = new ConversionStore(database);
    this.rehearsals = new RehearsalStore(database);
    this.deployments = new DeploymentStore(database);
    this.journals = new JournalStore(database);
    this.lateWrites = new LateWriteStore(database);
    this.runs = new RunStore(database);
    this.targets = new TargetStore(database);
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

  /** Those of one endpoint, or of the one that had this address last; the VM worked on last comes last. */
  listVmsAt(at: Pick<VmIdentity, "endpoint" | "endpointUuid">): VmIdentity[] {
    return listVmsAt(this.database, at);
  }

  /** The VM as it was reached before; undefined for one that is not known. */
  findKnownVm(vm: VmIdentity): VmIdentity | undefined {
    return findKnownVm(this.database, vm);
  }

  /** The VM of the last run that reported under this progress job. */
  findVmOfJob(jobId: string): VmIdentity | undefined {
    return findVmOfJob(this.database, jobId);
  }

  /** The completed cutover of the VM, until it is reopened. */
  readCutOver(vm: VmIdentity): CutOver | undefined {
    return readCutOver(this.database, vm);
  }

  markCutOver(vm: VmIdentity, runId: string): void {
    markCutOver(this.database, vm, runId);
  }

  clearCutOver(vm: VmIdentity): void {
    clearCutOver(this.database, vm);
  }

  /** What became of each VM's syncs, in the same order. */
  syncTotals(): VmTotals[] {
    return readSyncTotals(this.database);
  }

  /** What past syncs measured of each VM, in the same order. */
  syncHistory(): VmHistory[] {
    return readSyncHistory(this.database);
  }

  /** May be called twice. */
  close(): void {
    this.database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
