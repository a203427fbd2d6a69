import type { Logger } from "pino";
import type {
  FleetPlan,
  Lease,
  LeaseWord,
  RecordedVm,
  RunOutcome,
  RunPlaces,
  StateBundle,
} from "../fleet.ts";
import type { FleetStatus, RunProgress, StatusScope } from "../status.ts";
import { type AppliedPlan, applyPlan } from "./apply.ts";
import { Bell } from "./bell.ts";
import { Claims, finish, place, pull, push, renew } from "./claims.ts";
import { FleetDatabase, type Queries } from "./database.ts";
import { type InitResult, type InitSettings, initFleet } from "./init.ts";
import {
  askCutover,
  cancelCutover,
  confirmTakeover,
  pause,
  resume,
  retryFailed,
  type Selection,
} from "./operator.ts";
import { readStatus } from "./read-status.ts";
import { readRecorded } from "./recorded.ts";
import { checkVersion, readVersion } from "./schema/schema.ts";

export type { AppliedPlan } from "./apply.ts";
export type { InitResult, InitSettings } from "./init.ts";
export type { Selection } from "./operator.ts";

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

/**
 * The fleet's database as its users see it. Every method may throw `fleet-database-unreachable` (ask again),
 * -login, -certificate, -permission, -schema or -fault, and `usage` for names that the plan does not have.
 * A call whose answer was lost may have taken effect; what that means is said at each.
 */
export class FleetStore implements AsyncDisposable {
  readonly #database: FleetDatabase;
  readonly #claims: Claims;
  readonly #logger: Logger;
  #checked = false;

  private constructor(database: FleetDatabase, logger: Logger) {
    this.#database = database;
    this.#claims = new Claims(database);
    this.#logger = logger;
  }

  /** Connects with the first call, not here. @throws `usage` for a URL or password file that cannot be used */
  static async open(
    url: string,
    passwordFile: string | undefined,
    logger: Logger,
    options: { readonly application: string },
  ): Promise<FleetStore> {
    return new FleetStore(new FleetDatabase(url, passwordFile, logger, options), logger);
  }

  /** Makes the tables, or upgrades them; safe for several at once, and while workers work. */
  async init(settings: InitSettings = {}): Promise<InitResult> {
    return this.#database.transaction((queries) => initFleet(queries, settings));
  }

  /** Makes the fleet's plan this one, in one transaction; safe for several at once, of which the last holds. */
  async apply(plan: FleetPlan): Promise<AppliedPlan> {
    return this.#transaction((queries) => applyPlan(queries, plan));
  }

  /** Also the heartbeat: to be called every third of a lease's life. */
  async register({ name, labels, version, parallel }: WorkerEntry): Promise<void> {
    const queries = await this.#ready();
    await queries.query("SELECT migratekit.register($1, $2, $3, $4)", [
      ...[name, labels, version, parallel],
    ]);
  }

  /** A worker that has drained is not waited for any more. */
  async unregister(name: string): Promise<void> {
    const queries = await this.#ready();
    await queries.query("SELECT migratekit.unregister($1)", [name]);
  }

  /** The next VM for this worker. What was claimed with an answer that got lost is given by the next call. */
  async claim(worker: WorkerIdentity): Promise<Lease | undefined> {
    await this.#ready();
    return this.#claims.next(worker);
  }

  /** Moves the lease's end to now plus its TTL: count from before the call. Stale leases are "lost". */
  async renew(lease: Lease, progress?: RunProgress): Promise<LeaseWord> {
    return renew(await this.#ready(), lease, progress);
  }

  /**
   * Counts the run by where it really goes; before its first NFC connection. After "full" finish it as
   * interrupted: it keeps its turn, in the line of the host that is known now.
   * @throws `usage` for a VM that needs more connections than any host may have
   */
  async place(lease: Lease, places: RunPlaces): Promise<"placed" | "full" | "lost"> {
    return place(await this.#ready(), lease, places);
  }

  /** Undefined: the VM never had a state. @throws MigratekitError `state-unusable` for one that is damaged */
  async pull(lease: Lease): Promise<StateBundle | undefined> {
    return pull(await this.#ready(), lease);
  }

  /** False: the lease is lost, and nothing was stored. May be asked again after a lost answer. */
  async push(lease: Lease, bundle: StateBundle): Promise<boolean> {
    return push(await this.#ready(), lease, bundle);
  }

  /**
   * Gives the lease back: schedule, backoff or dead letter, what was counted. May be asked again after a
   * lost answer. False: the lease was lost before, and nothing was changed.
   */
  async finish(lease: Lease, outcome: RunOutcome): Promise<boolean> {
    return finish(await this.#ready(), lease, outcome);
  }

  /** No run begins; syncs that run are asked to stop. Gives the names of the VMs it concerned, as all below. */
  async pause(what: Selection): Promise<string[]> {
    return this.#transaction((queries) => pause(queries, what));
  }

  /** A VM that is named runs, whether or not its wave is paused. */
  async resume(what: Selection): Promise<string[]> {
    return this.#transaction((queries) => resume(queries, what));
  }

  /** Out of the dead letter or a backoff: due now, or when the window opens. */
  async retry(what: Selection): Promise<string[]> {
    return this.#transaction((queries) => retryFailed(queries, what));
  }

  /** Asks for the cutover: when its window is open and all of `after` are cut over. */
  async cutover(what: Selection): Promise<string[]> {
    return this.#transaction((queries) => askCutover(queries, what));
  }

  /** Takes back what `cutover` asked for, where it has not begun. */
  async cancelCutover(what: Selection): Promise<string[]> {
    return this.#transaction((queries) => cancelCutover(queries, what));
  }

  /** An operator's word that nothing of a dead worker can reach the targets any more; for leases that have ended. */
  async confirmTakeover(what: Selection): Promise<string[]> {
    return this.#transaction((queries) => confirmTakeover(queries, what));
  }

  async status(scope: StatusScope = {}): Promise<FleetStatus> {
    return (await this.#ready()).view((queries) => readStatus(queries, scope));
  }

  /** What its runs measured, of every VM of the plan; none where there is no fleet yet. */
  async recorded(): Promise<readonly RecordedVm[]> {
    if ((await readVersion(this.#database)) === undefined) return [];
    return (await this.#ready()).view(readRecorded);
  }

  /** Calls when there may be something to claim or a pause to hear of; reconnects, and then calls once. */
  async listen(onBell: () => void): Promise<AsyncDisposable> {
    const bell = new Bell(this.#database, onBell, (text) =>
      this.#logger.debug(`the bell of the fleet's database: ${text}`),
    );
    await bell.start();
    return bell;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#database[Symbol.asyncDispose]();
  }

  /** With the schema's version seen to be the one that this program knows, once. */
  async #ready(): Promise<FleetDatabase> {
    if (!this.#checked) checkVersion(await readVersion(this.#database));
    this.#checked = true;
    return this.#database;
  }

  async #transaction<T>(body: (queries: Queries) => Promise<T>): Promise<T> {
    return (await this.#ready()).transaction(body);
  }
}
