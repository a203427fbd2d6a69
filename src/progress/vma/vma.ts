/**
 * Reports a run to the VMA progress API. It can do no harm: whatever the API does, no call here
 * throws, and nobody waits for it but `finish`, which is bounded.
 */
import type { Logger } from "pino";
import { redact } from "../../logger.ts";
import type { DiskProgress, ProgressSnapshot, Stage } from "../progress.ts";
import { deliverOnce } from "./final.ts";
import { type PostOutcome, VmaHttp } from "./http.ts";
import { diskUpdate, type JobEnd, jobUpdate, lastUpdate, type VmaUpdate } from "./update.ts";

export interface VmaClientOptions {
  /** `http://localhost:8081` */
  readonly baseUrl: string;
  readonly jobId: string;
  readonly logger: Logger;
  /** Between rounds of updates. */
  readonly intervalMs?: number;
  /** Of one update; below `intervalMs`, so that a hanging request leaves no gap. */
  readonly requestTimeoutMs?: number;
  /** For the last update with all its attempts. */
  readonly finishTimeoutMs?: number;
}

/** Stage changes not yet sent; there are nine stages, so more is never news. */
const pendingStagesMax = 9;
/** Left for the last update even when what came before it used up the time. */
const lastUpdateMsMin = 1000;
/** People grep for it. */
const sentMessage = "📊 Progress update sent to VMA";
/** With less of the interval left, a request is not worth starting. */
const shortestRequestShare = 0.05;

export class VmaClient {
  readonly #http: VmaHttp;
  readonly #logger: Logger;
  readonly #intervalMs: number;
  readonly #requestTimeoutMs: number;
  readonly #finishTimeoutMs: number;

  #getState: (() => ProgressSnapshot) | undefined;
  #loop: Promise<void> | undefined;
  #finished: Promise<void> | undefined;
  #stopping = false;
  #wake: () => void = () => {};
  #pendingStages: Stage[] = [];
  #nextDisk = 0;
  /** What the service took last of each disk. */
  readonly #told = new Map<string, DiskProgress>();
  #percentTold = 0;
  #lastJobPostAtMs = 0;
  /** Whether the newest update was accepted; undefined before the first. */
  #reachable: boolean | undefined;
  #warned = false;

  constructor(options: VmaClientOptions) {
    this.#http = new VmaHttp(options.baseUrl, options.jobId);
    this.#logger = options.logger;
    this.#intervalMs = options.intervalMs ?? 2000;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? this.#intervalMs * 0.75;
    this.#finishTimeoutMs = options.finishTimeoutMs ?? 10_000;
  }

  /** Sends a first update now and one round every interval from here on. */
  start(getState: () => ProgressSnapshot): void {
    if (this.#loop !== undefined) throw new Error("the VMA client was started before");
    this.#getState = getState;
    this.#loop = this.#run(getState).catch((error: unknown) => {
      this.#logger.warn({ error }, "Progress reporting to the VMA API stopped");
    });
  }

  /** Call after every change of the stage; it is sent at once, or as soon as the request under way ends. */
  stageChanged(): void {
    if (this.#getState === undefined || this.#stopping) return;
    this.#pendingStages.push(this.#getState().stage);
    if (this.#pendingStages.length > pendingStagesMax) this.#pendingStages.shift();
    this.#wake();
  }

  /**
   * Ends the reports with the job's one `completed` or `failed`, tried again for a bounded time. A
   * second call changes nothing. Resolves whether or not the API took it.
   */
  finish(end: JobEnd, options: { timeoutMs?: number } = {}): Promise<void> {
    this.#finished ??= this.#finish(end, options.timeoutMs ?? this.#finishTimeoutMs).catch(
      (error: unknown) => {
        this.#logger.warn({ error }, "The last progress update could not be made");
      },
    );
    return this.#finished;
  }

  async #run(getState: () => ProgressSnapshot): Promise<void> {
    let nextRoundAtMs = performance.now();
    while (!this.#stopping) {
      const stage = this.#pendingStages.shift();
      if (stage !== undefined) {
        await this.#sendRound(stage, getState());
        continue;
      }
      if (performance.now() < nextRoundAtMs) {
        await this.#sleepUntil(nextRoundAtMs);
        continue;
      }
      // From a fixed grid, so that the time a round takes does not add to the interval.
      nextRoundAtMs = Math.max(nextRoundAtMs + this.#intervalMs, performance.now());
      const state = getState();
      await this.#sendRound(state.stage, state);
    }
  }

  /**
   * Disks first, then the job, all from one state: the service adds the disks up, so in this order
   * its sum never falls behind what it showed before. A slow service gets fewer disks a round.
   */
  async #sendRound(stage: Stage, state: ProgressSnapshot): Promise<void> {
    const diskBudgetEndsAtMs = performance.now() + this.#intervalMs / 4;
    for (let sent = 0; sent < state.disks.length && this.#reachable === true; sent++) {
      const nowMs = performance.now();
      const jobDueInMs = this.#lastJobPostAtMs + this.#intervalMs * 1.2 - nowMs;
      const out =
        nowMs > diskBudgetEndsAtMs || jobDueInMs < this.#intervalMs * shortestRequestShare;
      if (out || this.#stopping) break;
      const disk = state.disks[this.#nextDisk++ % state.disks.length]!;
      await this.#sendDisk(stage, disk, Math.min(this.#requestTimeoutMs, jobDueInMs));
    }
    if (this.#stopping) return;
    this.#lastJobPostAtMs = performance.now();
    await this.#send(this.#jobUpdate(stage, state), this.#requestTimeoutMs);
    // Stages that the service missed while it was away are history.
    if (this.#reachable === false) this.#pendingStages.splice(0, this.#pendingStages.length - 1);
  }

  async #finish(end: JobEnd, timeoutMs: number): Promise<void> {
    const getState = this.#getState;
    if (getState === undefined) return;
    const deadlineMs = performance.now() + timeoutMs;
    this.#stopping = true;
    this.#wake();
    await this.#loop; // one request at most, with its own timeout: nothing may come after the last
    const state = getState();
    await this.#sendBeforeLast(state, Math.min(performance.now() + this.#intervalMs, deadlineMs));
    const update = lastUpdate(state, {
      ...end,
      ...(end.errorMessage === undefined ? {} : { errorMessage: redact(end.errorMessage) }),
    });
    const leftMs = Math.max(deadlineMs - performance.now(), lastUpdateMsMin);
    const outcome = await deliverOnce(this.#http, update, leftMs);
    if (outcome.kind === "accepted") {
      this.#logger.debug({ ...update }, sentMessage);
    } else {
      const fields = { reason: outcome.reason, status: end.status };
      this.#logger.warn(fields, "The VMA API did not take the last progress update");
    }
  }

  /** The percentage never goes back: not when a plan grows, nor while a disk's newest is not told. */
  #jobUpdate(stage: Stage, state: ProgressSnapshot): VmaUpdate {
    const update = jobUpdate(stage, state, this.#told);
    this.#percentTold = Math.max(this.#percentTold, update.percent);
    return { ...update, percent: this.#percentTold };
  }

  /** What the last update must not overtake: where each disk ended, and stages still unsent. */
  async #sendBeforeLast(state: ProgressSnapshot, deadlineMs: number): Promise<void> {
    const stages = this.#pendingStages.splice(0);
    const timeoutMs = () => Math.min(this.#requestTimeoutMs, deadlineMs - performance.now());
    const mayGoOn = () =>
      this.#reachable === true && timeoutMs() > this.#intervalMs * shortestRequestShare;
    for (const disk of state.disks) {
      if (mayGoOn()) await this.#sendDisk(stages[0] ?? state.stage, disk, timeoutMs());
    }
    for (const stage of stages) {
      if (mayGoOn()) await this.#send(this.#jobUpdate(stage, state), timeoutMs());
    }
  }

  async #sendDisk(stage: Stage, disk: DiskProgress, timeoutMs: number): Promise<void> {
    await this.#send(diskUpdate(stage, disk), timeoutMs);
    if (this.#reachable === true) this.#told.set(disk.diskId, disk);
    else this.#told.delete(disk.diskId);
  }

  async #send(update: VmaUpdate, timeoutMs: number): Promise<void> {
    this.#log(update, await this.#http.post(update, Math.round(timeoutMs)));
  }

  #log(update: VmaUpdate, outcome: PostOutcome): void {
    this.#reachable = outcome.kind === "accepted";
    if (outcome.kind === "accepted") {
      this.#logger.debug({ ...update }, sentMessage);
      return;
    }
    const { reason } = outcome;
    const fields = { reason, stage: update.stage, disk_id: update.disk_id };
    this.#logger.debug(fields, "Progress update not taken by VMA");
    if (this.#warned) return; // once a run: the next one says nothing new
    this.#warned = true;
    const message = "The VMA API does not take every progress update; the migration goes on";
    this.#logger.warn({ reason }, message);
  }

  #sleepUntil(wakeAtMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, wakeAtMs - performance.now())).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
