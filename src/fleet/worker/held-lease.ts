/** A lease while it is held: renewed, its state pushed, and the engines' writes bound to it. */
import type { Logger } from "pino";
import { MigratekitError, messageOf, passesByItself } from "../../errors.ts";
import { Interruption } from "../../interruption.ts";
import type { HostSource, LeasePlaces, RunLease } from "../../migration/lease.ts";
import { type Clocks, type Engine, readClocks } from "../../nbd/copy-engine/copy-engine.ts";
import { pause } from "../../retry.ts";
import { packDatabase } from "../../state/database/image.ts";
import type { FleetStore } from "../database/store.ts";
import type { Lease } from "../fleet.ts";
import type { RunProgress } from "../status.ts";

export type LeaseStore = Pick<FleetStore, "renew" | "place" | "push">;

export interface HeldLeaseOptions {
  readonly store: LeaseStore;
  /** Of the VM; there is no state in it before the run has begun. */
  readonly stateDir: string;
  readonly logger: Logger;
  /** How far the run is; undefined before it has begun. */
  readonly progress: () => RunProgress | undefined;
}

/** Six tries in a lease's life. */
const renewalsInTtl = 6;
const pushesInTtl = 2;
/**
 * Writing and reading end so long before the lease does: what the kernel has by then, and the connections to the
 * host, are gone before another may begin.
 */
const marginMsMax = 15_000;
const marginShare = 8;
const againMsMax = 2000;
/** How late the end of the lease, and its going on, are seen. */
const lookMs = 100;

export class HeldLease implements RunLease, AsyncDisposable {
  readonly lease: Lease;
  readonly #options: HeldLeaseOptions;
  readonly #engines = new Set<Engine>();
  /** Each with the end of its last pause. */
  readonly #sources = new Map<HostSource, Promise<void>>();
  #arePaused = false;
  readonly #lost = new AbortController();
  readonly #stop = new AbortController();
  readonly #ended = new AbortController();
  readonly #renewing: Promise<void>;
  readonly #pausing: Promise<void>;
  #pushing: Promise<void> | undefined;
  /** Nothing may be written before the lease was renewed once: an answer to the claim may have come late. */
  #until = readClocks();
  #pushes: Promise<unknown> = Promise.resolve();
  #troubled = false;

  constructor(lease: Lease, options: HeldLeaseOptions) {
    this.lease = lease;
    this.#options = options;
    this.#renewing = this.#every(lease.ttlMs / renewalsInTtl, () => this.renew());
    this.#pausing = this.#pauseSources();
  }

  /** There is a state from now on, to be pushed. */
  ready(): void {
    this.#pushing ??= this.#every(this.lease.ttlMs / pushesInTtl, () => this.push());
  }

  /** Aborted when it is lost, by `fleet-lease-lost`. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Aborted when the fleet asks the run to end politely: its wave is paused, or its VM is let go. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Until its writes stop; 0 and less: they have. */
  get leftMs(): number {
    const now = readClocks();
    return Math.min(this.#until.bootMs - now.bootMs, this.#until.wallMs - now.wallMs);
  }

  get takenOver(): boolean {
    return this.lease.takenOver;
  }

  guard(engine: Engine): void {
    this.#engines.add(engine);
    engine.writeUntil(this.#until);
  }

  guardSource(source: HostSource): Disposable {
    // It may have ended while the source was opened. Who pauses the others resumes this one, too.
    this.#sources.set(source, this.#arePaused ? source.pause() : Promise.resolve());
    return { [Symbol.dispose]: () => this.#sources.delete(source) };
  }

  async barrier(before: string): Promise<void> {
    this.#options.logger.debug({ before }, `barrier before ${before}`);
    await this.insist(async () => {
      await this.push();
      await this.renew();
    });
    // It may have been stopped since the answer was sent.
    await this.holds();
  }

  async holds(): Promise<void> {
    this.signal.throwIfAborted();
    while (this.leftMs <= 0) await this.insist(() => this.renew());
  }

  async place(places: LeasePlaces): Promise<void> {
    const answer = await this.insist(() => this.#options.store.place(this.lease, places));
    if (answer === "lost") this.#lose();
    this.signal.throwIfAborted();
    if (answer === "full") {
      throw new MigratekitError(
        "fleet-host-full",
        `there is no room for ${places.units} connections to ${places.host} or for another run at its datastores and targets`,
      );
    }
  }

  /** What the state knows now is there for whoever takes the VM up. Nothing where there is none yet. */
  async push(): Promise<void> {
    if (this.#pushing === undefined) return;
    // One after another, each as new as can be: an older one must not come behind it.
    const push = this.#pushes.then(async () => {
      this.signal.throwIfAborted();
      if (!(await this.#options.store.push(this.lease, packDatabase(this.#options.stateDir))))
        this.#lose();
      this.signal.throwIfAborted();
    });
    this.#pushes = push.catch(() => {});
    await push;
  }

  /** @throws `fleet-lease-lost`; `fleet-database-…` */
  async renew(): Promise<void> {
    const { store, progress } = this.#options;
    const asked = readClocks();
    const word = await store.renew(this.lease, progress());
    if (word === "lost") this.#lose();
    this.signal.throwIfAborted();
    if (this.#troubled) this.#options.logger.info("the fleet's database answers again: going on");
    this.#troubled = false;
    this.#moveTo(this.#endOf(asked));
    if (word === "stop" && !this.#stop.signal.aborted) {
      this.#options.logger.info("the fleet asks this run to end");
      this.#stop.abort(new Interruption("SIGTERM"));
    }
  }

  /** Asked again until there is an answer. @throws `fleet-lease-lost`; what does not pass by itself */
  async insist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      this.signal.throwIfAborted();
      try {
        return await ask();
      } catch (error) {
        this.signal.throwIfAborted();
        if (!passes(error)) throw error;
        this.#tellTrouble(error);
        await pause(Math.min(againMsMax, this.lease.ttlMs / renewalsInTtl), this.signal);
      }
    }
  }

  /** Nothing is renewed any more: a renewal that meets a lease given back would find it lost. */
  async end(): Promise<void> {
    this.#ended.abort();
    await Promise.all([this.#renewing, this.#pausing, this.#pushing, this.#pushes]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  #endOf({ bootMs, wallMs }: Clocks): Clocks {
    const { ttlMs } = this.lease;
    const ms = ttlMs - Math.min(marginMsMax, Math.ceil(ttlMs / marginShare));
    return { bootMs: bootMs + ms, wallMs: wallMs + ms };
  }

  #moveTo(until: Clocks): void {
    this.#until = until;
    for (const engine of this.#engines) {
      if (engine.closed) this.#engines.delete(engine);
      else engine.writeUntil(until);
    }
  }

  /**
   * Whoever takes the VM over is given the connections to the host that this run counts; so they are closed when
   * its time is over, and made again when there is more of it.
   */
  async #pauseSources(): Promise<void> {
    const ended = AbortSignal.any([this.#ended.signal, this.signal]);
    while (!ended.aborted) {
      await pause(Math.max(this.leftMs, lookMs), ended).catch(() => {});
      if (ended.aborted || this.leftMs > 0) continue;
      if (this.#sources.size > 0) this.#options.logger.warn("connections to the host are closed");
      this.#arePaused = true;
      for (const source of this.#sources.keys()) this.#sources.set(source, source.pause());
      await Promise.all(this.#sources.values());
      while (!ended.aborted && this.leftMs <= 0) await pause(lookMs, ended).catch(() => {});
      this.#arePaused = false;
      if (ended.aborted) return;
      await Promise.all(
        [...this.#sources].map(async ([source, paused]) => {
          await paused;
          await source.resume();
        }),
      );
    }
  }

  #lose(): void {
    if (this.signal.aborted) return;
    const text = "another worker has the VM now, or may have it: this run ends as it is";
    this.#options.logger.error(text);
    this.#lost.abort(new MigratekitError("fleet-lease-lost", text));
  }

  /** Until the lease has ended. A try that fails is followed by the next soon. */
  async #every(intervalMs: number, work: () => Promise<void>): Promise<void> {
    const ended = AbortSignal.any([this.#ended.signal, this.signal]);
    let pauseMs = intervalMs;
    while (!ended.aborted) {
      await pause(pauseMs, ended).catch(() => {});
      if (ended.aborted) return;
      try {
        await work();
        pauseMs = intervalMs;
      } catch (error) {
        if (!ended.aborted) this.#tellTrouble(error);
        pauseMs = Math.min(againMsMax, intervalMs);
      }
    }
  }

  #tellTrouble(error: unknown): void {
    const { logger } = this.#options;
    const text = `the lease could not be renewed: ${messageOf(error)}`;
    if (this.#troubled) logger.debug(text);
    else logger.warn(`${text}; copies go on until shortly before it ends, and wait then`);
    this.#troubled = true;
  }
}

/** Of the fleet's database: worth asking again. */
export function passes(error: unknown): boolean {
  return passesByItself(error) && error.code.startsWith("fleet-database-");
}
