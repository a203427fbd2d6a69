/** The life of one export's nbdkit: started, watched over, started again when it dies, at rest, ended. */
import type { ChildProcess } from "node:child_process";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { describeExit, exited, type StopOptions, stopProcess } from "../../stop-process.ts";
import { NbdError } from "../copy-engine/copy-engine.ts";
import type { NbdkitCommand, VddkSource } from "./command.ts";
import { launchNbdkit } from "./launch.ts";
import { NbdkitOutput } from "./output.ts";
import type { Workspace } from "./workspace.ts";

export interface SupervisorOptions {
  readonly logger: Logger;
  readonly readyTimeoutMs?: number;
  readonly stop?: StopOptions;
  /** How often in a row a dead nbdkit is started again; each minute of life clears the count. */
  readonly restartsMax?: number;
}

const lifeThatClearsMs = 60_000;

/** See `NbdkitExport` in nbdkit.ts for what it offers. */
export class Supervisor {
  readonly uri: string;
  readonly #source: VddkSource;
  readonly #command: NbdkitCommand;
  readonly #workspace: Workspace;
  readonly #options: SupervisorOptions;
  readonly #logger: Logger;
  readonly #output: NbdkitOutput;
  /** Aborted by `rest` and `stop`: nothing is started again then. */
  #life = new AbortController();
  #child: ChildProcess | undefined;
  #startedMs = 0;
  #restarts = 0;
  #paused = false;
  /** A start under way that nobody but `rest` waits for. */
  #reviving: Promise<void> = Promise.resolve();
  #gaveUp: MigratekitError | undefined;
  #stopped: Promise<void> | undefined;

  constructor(
    source: VddkSource,
    command: NbdkitCommand,
    workspace: Workspace,
    options: SupervisorOptions,
  ) {
    this.uri = `nbd+unix:///?socket=${encodeURIComponent(workspace.socketPath)}`;
    this.#source = source;
    this.#command = command;
    this.#workspace = workspace;
    this.#options = options;
    this.#logger = options.logger.child({ file: source.diskPath });
    this.#output = new NbdkitOutput({
      logger: this.#logger.child({ program: "nbdkit" }),
      secrets: [source.password],
      diskPath: source.diskPath,
      wantsEncryption: source.transports.split(":").includes("nbdssl"),
    });
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  rootCause(): MigratekitError | undefined {
    return this.#output.rootCause() ?? this.#gaveUp;
  }

  async findRootCause(error: unknown): Promise<MigratekitError | undefined> {
    const look = isReadFailure(error) ? () => this.#output.readFailure() : () => this.rootCause();
    const deadlineMs = performance.now() + 250;
    do await sleep(20);
    while (look() === undefined && performance.now() < deadlineMs);
    return look() ?? this.rootCause();
  }

  async start(signal: AbortSignal | undefined): Promise<void> {
    const life = this.#life.signal;
    const child = await launchNbdkit(this.#command, {
      password: this.#source.password,
      socketPath: this.#workspace.socketPath,
      output: this.#output,
      readyTimeoutMs: this.#options.readyTimeoutMs ?? 30_000,
      signal: signal ? AbortSignal.any([life, signal]) : life,
    });
    this.#child = child;
    this.#startedMs = performance.now();
    void exited(child).then(() => {
      if (!life.aborted)
        this.#reviving = this.#revive(this.#describeDeath(describeExit(child)), life);
    });
  }

  async rest(): Promise<void> {
    this.#paused = false;
    this.#life.abort();
    await this.#reviving;
    if (this.#child === undefined) return;
    const outcome = await stopProcess(this.#child, this.#options.stop);
    if (outcome === "killed") {
      this.#logger.warn({ pid: this.pid }, "nbdkit did not end when asked to and was killed");
    } else if (outcome === "survived") {
      this.#logger.error({ pid: this.pid }, "nbdkit hangs in the kernel and could not be killed");
    }
  }

  async wake(signal: AbortSignal): Promise<void> {
    this.#paused = false;
    if (!this.#life.signal.aborted) return;
    if (this.#stopped) throw new Error("this nbdkit was stopped for good");
    this.#life = new AbortController();
    this.#restarts = 0;
    const starting = this.#startAgain(signal);
    this.#reviving = starting.catch(() => {});
    await starting;
  }

  async pause(): Promise<void> {
    if (this.#life.signal.aborted) return;
    const resting = this.rest();
    this.#paused = true;
    await resting;
  }

  async resume(signal: AbortSignal): Promise<void> {
    if (!this.#paused) return;
    await this.wake(signal).catch((error: unknown) => {
      if (!signal.aborted) this.#reviving = this.#revive(messageOf(error), this.#life.signal);
    });
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    await this.rest();
    await this.#workspace.remove().catch((error: unknown) => {
      this.#logger.warn(`could not remove ${this.#workspace.dir}: ${messageOf(error)}`);
    });
  }

  /** On the same socket, so that the engine's next attempt to connect finds it. */
  async #startAgain(signal?: AbortSignal): Promise<void> {
    // nbdkit never removes its socket and does not bind to an existing path.
    await rm(this.#workspace.socketPath, { force: true });
    await this.start(signal);
  }

  /** Never rejects. */
  async #revive(why: string, life: AbortSignal): Promise<void> {
    const restartsMax = this.#options.restartsMax ?? 8;
    if (performance.now() - this.#startedMs >= lifeThatClearsMs) this.#restarts = 0;
    let reason = why;
    while (!life.aborted && this.#restarts < restartsMax) {
      const delayMs = Math.min(100 * 2 ** this.#restarts, 5_000);
      this.#restarts += 1;
      const attempt = `attempt ${this.#restarts} of ${restartsMax}`;
      this.#logger.warn(`${reason}; starting it again in ${delayMs} ms (${attempt})`);
      try {
        await sleep(delayMs, undefined, { signal: life });
        await this.#startAgain();
        return;
      } catch (error) {
        reason = messageOf(error);
      }
    }
    if (life.aborted) return;
    this.#gaveUp = new MigratekitError(
      "source-io",
      `${this.#source.diskPath}: nbdkit died ${this.#restarts + 1} times in a row: ${reason}`,
      { context: { diskPath: this.#source.diskPath, restarts: this.#restarts } },
    );
    this.#logger.error(this.#gaveUp.message);
  }

  #describeDeath(ending: string): string {
    const words = this.#output.lastWords();
    return `nbdkit died (${ending})${words === undefined ? "" : ` after saying: ${words}`}`;
  }
}

/** The server answered a read with an error, which nbdkit prints for every one before the answer. */
function isReadFailure(error: unknown): boolean {
  return error instanceof NbdError && error.code === "ENGINE_READ" && error.errno === "EIO";
}
