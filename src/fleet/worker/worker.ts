/** What each appliance of a fleet runs: claims VMs, does what is due for them, and drains when it is to end. */
import { messageOf } from "../../errors.ts";
import { Interruption } from "../../interruption.ts";
import { pause, retry } from "../../retry.ts";
import type { FleetStore, WorkerEntry } from "../database/store.ts";
import { passes } from "./held-lease.ts";
import { type LeasedRunContext, runLeased } from "./leased-run.ts";
import { holdRunDirectories } from "./state-of-run.ts";
import type { WorkDone } from "./watch.ts";

export type { LeasedJob } from "./leased-run.ts";

export interface WorkerContext extends Omit<LeasedRunContext, "targets" | "store"> {
  readonly store: FleetStore;
  readonly worker: WorkerEntry;
}

/**
 * Between two looks for work where no bell rings. A fleet whose only sign of life it is counts as awake if it
 * comes twice in a lease's life.
 */
const lookMs = 2000;
/** Until a lease says how long they live. */
const heartbeatMsMax = 20_000;
const againMsMax = 30_000;

/**
 * Until `signal` is aborted, and then until the runs have come to a checkpoint and are given back.
 * @throws MigratekitError `fleet-database-…` that does not pass by itself, once the runs have drained
 */
export async function runWorker(context: WorkerContext): Promise<WorkDone> {
  const { store, worker, logger } = context;
  using _directories = holdRunDirectories(context.config.stateDir);
  const drain = new AbortController();
  const signal = AbortSignal.any([context.signal, drain.signal]);
  await insist(context, signal, () => store.register(worker));
  logger.info(
    { labels: worker.labels },
    `worker ${worker.name}: up to ${worker.parallel} VMs at a time`,
  );
  const claims = new Claims({ ...context, signal, targets: new Map() });
  await using _bell = await store.listen(() => claims.ring());
  const ended = new AbortController();
  const beating = beat(context, claims, ended.signal);
  let failure: unknown;
  try {
    await claims.take();
  } catch (error) {
    if (!context.signal.aborted) failure = error;
    if (failure !== undefined) logger.error(`${messageOf(failure)}: this worker takes no more VMs`);
    drain.abort(new Interruption("SIGTERM"));
  }
  context.watch.draining = true;
  if (claims.running > 0) logger.info(`draining: ${claims.running} runs come to their checkpoints`);
  await claims.drained();
  ended.abort();
  await beating;
  await store.unregister(worker.name).catch((error: unknown) => {
    logger.warn(`the fleet was not told that this worker ends: ${messageOf(error)}`);
  });
  if (failure !== undefined) throw failure;
  return context.watch.ended;
}

/** The VMs that this worker has. */
class Claims {
  ttlMs: number | undefined;
  readonly #context: LeasedRunContext & WorkerContext;
  readonly #runs = new Set<Promise<void>>();
  #wake = Promise.withResolvers<void>();

  constructor(context: LeasedRunContext & WorkerContext) {
    this.#context = context;
  }

  get running(): number {
    return this.#runs.size;
  }

  /** There may be something to claim. */
  ring(): void {
    this.#wake.resolve();
  }

  /** Until the signal. @throws its reason; what `claim` throws and does not pass */
  async take(): Promise<never> {
    const { signal, worker } = this.#context;
    for (;;) {
      signal.throwIfAborted();
      // A bell that rings from here on is heard.
      this.#wake = Promise.withResolvers();
      while (this.#runs.size < worker.parallel && (await this.#takeOne())) signal.throwIfAborted();
      const looked = new AbortController();
      const either = AbortSignal.any([signal, looked.signal]);
      await Promise.race([this.#wake.promise, pause(lookMs, either).catch(() => {})]);
      looked.abort();
    }
  }

  async drained(): Promise<void> {
    while (this.#runs.size > 0) await Promise.race(this.#runs);
  }

  async #takeOne(): Promise<boolean> {
    const { store, worker, signal } = this.#context;
    const lease = await insist(this.#context, signal, () => store.claim(worker));
    if (lease === undefined) return false;
    this.ttlMs = lease.ttlMs;
    const run = runLeased(this.#context, lease).then((status) => {
      this.#context.watch.ended[status]++;
      this.#runs.delete(run);
      this.ring();
    });
    this.#runs.add(run);
    return true;
  }
}

/** Tells the fleet that the worker is there, until `ended`. */
async function beat(
  { store, worker, watch, logger }: WorkerContext,
  claims: Claims,
  ended: AbortSignal,
): Promise<void> {
  for (;;) {
    const waitMs = Math.min(heartbeatMsMax, (claims.ttlMs ?? Infinity) / 3);
    await pause(waitMs, ended).catch(() => {});
    if (ended.aborted) return;
    await store.register(worker).then(
      () => watch.heard(),
      (error: unknown) => logger.debug(messageOf(error)),
    );
  }
}

/** Asked again while the database does not answer. @throws what does not pass by itself; the signal's reason */
async function insist<T>(
  { logger, watch }: WorkerContext,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  const answer = await retry(ask, {
    firstPauseMs: 500,
    pauseMsMax: againMsMax,
    limitMs: Infinity,
    isPassing: passes,
    onWait: ({ error, attempt }) => {
      const text = `waiting for the fleet's database: ${messageOf(error)}`;
      if (attempt === 1) logger.warn(text);
      else logger.debug(text);
    },
    signal,
  });
  watch.heard();
  return answer;
}
