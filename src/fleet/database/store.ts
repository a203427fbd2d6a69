import type { Logger } from "pino";
import type { FleetPlan, Lease, LeaseWord, RunOutcome, RunPlaces, StateBundle } from "../fleet.ts";
import type { FleetStatus, RunProgress, StatusScope } from "../status.ts";

/** What `fleet init` sets; what is left out stays as it is. */
export interface InitSettings {
  /** A lease lives so long without being renewed, ms. */
  readonly ttlMs?: number;
  /** At least so long after a lease's end nobody takes over, ms; the plan's drop time may make it longer. */
  readonly graceMs?: number;
  /** An existing role of PostgreSQL that may work from now on, and nothing else. */
  readonly workerRole?: string;
  /** The database was restored: tokens go up by a wide step, and no VM's state is believed to be the newest. */
  readonly restored?: boolean;
}

export interface InitResult {
  readonly version: number;
  readonly upgradedFrom?: number;
  /** What an operator should know about the server: what is durable there is not, or the like. */
  readonly warnings: readonly string[];
}

/** Names of VMs. */
export interface AppliedPlan {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: number;
  /** They were in the plan and are not any more; of these, the ones that a worker holds are asked to stop. */
  readonly released: readonly string[];
  readonly stopping: readonly string[];
}

export interface WorkerIdentity {
  /** Of one worker in the fleet, such as the host's name. */
  readonly name: string;
  readonly labels: readonly string[];
}

export interface WorkerEntry extends WorkerIdentity {
  /** Of migratekit. */
  readonly version: string;
  /** Runs at a time. */
  readonly parallel: number;
}

/** Which VMs an operator speaks of; all that are named, or that are of a wave that is named. */
export interface Selection {
  readonly all?: true;
  readonly waves?: readonly string[];
  readonly vms?: readonly string[];
}

/**
 * The fleet's database as its users see it. Every method may throw `fleet-database-unreachable` (ask again),
 * -login, -certificate, -permission, -schema or -fault, and `usage` for names that the plan does not have.
 * A call whose answer was lost may have taken effect; what that means is said at each.
 */
export class FleetStore implements AsyncDisposable {
  /** Connects with the first call, not here. @throws `usage` for a URL or password file that cannot be used */
  static async open(
    _url: string,
    _passwordFile: string | undefined,
    _logger: Logger,
    _options: { readonly application: string },
  ): Promise<FleetStore> {
    throw notYet();
  }

  /** Makes the tables, or upgrades them; safe for several at once, and while workers work. */
  async init(_settings: InitSettings = {}): Promise<InitResult> {
    throw notYet();
  }

  /** Makes the fleet's plan this one, in one transaction; safe for several at once, of which the last holds. */
  async apply(_plan: FleetPlan): Promise<AppliedPlan> {
    throw notYet();
  }

  /** Also the heartbeat: to be called every third of a lease's life. */
  async register(_worker: WorkerEntry): Promise<void> {
    throw notYet();
  }

  /** A worker that has drained is not waited for any more. */
  async unregister(_name: string): Promise<void> {
    throw notYet();
  }

  /** The next VM for this worker. What was claimed with an answer that got lost is given by the next call. */
  async claim(_worker: WorkerIdentity): Promise<Lease | undefined> {
    throw notYet();
  }

  /** Moves the lease's end to now plus its TTL: count from before the call. Stale leases are "lost". */
  async renew(_lease: Lease, _progress?: RunProgress): Promise<LeaseWord> {
    throw notYet();
  }

  /**
   * Counts the run by where it really goes; before its first NFC connection. After "full" finish it as
   * interrupted: it keeps its turn, in the line of the host that is known now.
   * @throws `usage` for a VM that needs more connections than any host may have
   */
  async place(_lease: Lease, _places: RunPlaces): Promise<"placed" | "full" | "lost"> {
    throw notYet();
  }

  /** Undefined: the VM never had a state. @throws MigratekitError `state-unusable` for one that is damaged */
  async pull(_lease: Lease): Promise<StateBundle | undefined> {
    throw notYet();
  }

  /** False: the lease is lost, and nothing was stored. May be asked again after a lost answer. */
  async push(_lease: Lease, _bundle: StateBundle): Promise<boolean> {
    throw notYet();
  }

  /**
   * Gives the lease back: schedule, backoff or dead letter, what was counted. May be asked again after a
   * lost answer. False: the lease was lost before, and nothing was changed.
   */
  async finish(_lease: Lease, _outcome: RunOutcome): Promise<boolean> {
    throw notYet();
  }

  /** No run begins; syncs that run are asked to stop. Gives the names of the VMs it concerned, as all below. */
  async pause(_what: Selection): Promise<string[]> {
    throw notYet();
  }

  async resume(_what: Selection): Promise<string[]> {
    throw notYet();
  }

  /** Out of the dead letter or a backoff: due now, or when the window opens. */
  async retry(_what: Selection): Promise<string[]> {
    throw notYet();
  }

  /** Asks for the cutover: when its window is open and all of `after` are cut over. */
  async cutover(_what: Selection): Promise<string[]> {
    throw notYet();
  }

  /** Takes back what `cutover` asked for, where it has not begun. */
  async cancelCutover(_what: Selection): Promise<string[]> {
    throw notYet();
  }

  /** An operator's word that nothing of a dead worker can reach the targets any more; for leases that have ended. */
  async confirmTakeover(_what: Selection): Promise<string[]> {
    throw notYet();
  }

  async status(_scope: StatusScope = {}): Promise<FleetStatus> {
    throw notYet();
  }

  /** Calls when there may be something to claim or a pause to hear of; reconnects, and then calls once. */
  async listen(_onBell: () => void): Promise<AsyncDisposable> {
    throw notYet();
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function notYet(): Error {
  return new Error("comes with the next commits");
}
