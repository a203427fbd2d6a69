/** What the operations of the simulator work on. */

import type { CallLog } from "./call-log.ts";
import type { FaultBoard } from "./fault-board.ts";
import type { Inventory } from "./inventory.ts";
import type { LabVm } from "./lab-vm.ts";
import type { Session, Sessions } from "./sessions.ts";
import type { TaskList } from "./tasks.ts";
import type { UpdateSignal } from "./update-signal.ts";
import type { Moref, VimObject, VimValue } from "./vim-values.ts";

export interface LabCore {
  readonly inventory: Inventory;
  readonly tasks: TaskList;
  readonly sessions: Sessions;
  readonly faults: FaultBoard;
  readonly log: CallLog;
  readonly updates: UpdateSignal;
  /** Identity of this vCenter. */
  readonly instanceUuid: string;
  readonly settings: LabSettings;
  nextNumber(): number;
  /** Out of the inventory, as by an administrator. */
  removeVm(vm: LabVm): void;
  /** Removes the oldest frozen copies beyond the limit. */
  pruneFrozen(): Promise<void>;
}

export interface LabSettings {
  /** Most areas in one page of QueryChangedDiskAreas. */
  areasPerPage: number;
  /** Usual duration of a task. */
  taskMs: number;
  /** Usual duration of a snapshot task. */
  snapshotMs: number;
  /** Objects per page of RetrievePropertiesEx when the client names no limit. */
  objectsPerPage: number;
}

/** One SOAP call under way. */
export interface CallContext {
  readonly lab: LabCore;
  readonly method: string;
  readonly self: Moref;
  readonly parameters: VimObject;
  /** Undefined without a valid session cookie. */
  session: Session | undefined;
  /** Aborted when the client's connection closes. */
  readonly signal: AbortSignal;
}

export type Operation = (call: CallContext) => VimValue | undefined | Promise<VimValue | undefined>;
