/**
 * One disk of one snapshot as an NBD export on a private Unix socket: a real nbdkit with the VDDK
 * plugin, watched over, started again when it dies, and gone without a trace when stopped.
 */
import type { ChildProcess } from "node:child_process";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { describeExit, exited, type StopOptions, stopProcess } from "../../stop-process.ts";
import { NbdError } from "../copy-engine/copy-engine.ts";
import { type NbdkitCommand, nbdkitCommand, type VddkSource } from "./command.ts";
import { inspectNbdkit, type NbdkitInspection } from "./inspect.ts";
import { launchNbdkit, passwordFd } from "./launch.ts";
import { NbdkitOutput } from "./output.ts";
import {
  makeWorkspace,
  removeNbdkitLeftovers,
  vddkConfigFile,
  type Workspace,
} from "./workspace.ts";

export type { VddkSource } from "./command.ts";

export interface NbdkitOptions {
  readonly logger: Logger;
  /** Ends a start under way; once started, use `stop`. */
  readonly signal?: AbortSignal;
  /** What `inspectNbdkit` said; absent: it is asked. */
  readonly inspection?: NbdkitInspection;
  readonly readyTimeoutMs?: number;
  readonly stop?: StopOptions;
  /** How often in a row a dead nbdkit is started again; each minute of life clears the count. */
  readonly restartsMax?: number;
  /** Where the private directory is made. */
  readonly tempDir?: string;
}

export interface NbdkitExport extends AsyncDisposable {
  /** nbd+unix:///?socket=… */
  readonly uri: string;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /**
   * Why the disk does not open, from what nbdkit printed, nearest to the root, or why nbdkit is gone.
   * VDDK opens the disk when a client connects, and a client hears of no cause: ask here.
   */
  rootCause(): MigratekitError | undefined;
  /**
   * What nbdkit said of `error`, with which a client of the export ended. It came through another
   * pipe and may still be on its way: takes up to a quarter of a second.
   */
  findRootCause(error: unknown): Promise<MigratekitError | undefined>;
  /** TERM, a bounded wait, KILL; then the private directory is removed. Never rejects; may be called twice. */
  stop(): Promise<void>;
}

/**
 * Starts nbdkit and waits until it listens. The disk itself is opened later, by the first client.
 * @throws MigratekitError naming the cause; nothing is left behind then.
 */
export async function startNbdkit(
  source: VddkSource,
  options: NbdkitOptions,
): Promise<NbdkitExport> {
  const { signal, tempDir } = options;
  signal?.throwIfAborted();
  const inspection = options.inspection ?? (await inspect(source, signal));
  await removeNbdkitLeftovers(options.logger, tempDir);
  const workspace = await makeWorkspace(tempDir);
  try {
    const command = nbdkitCommand(source, {
      socketPath: workspace.socketPath,
      configFile: await vddkConfigFile(workspace, source.configFile),
      dir: workspace.dir,
      passwordFd,
      filters: inspection.filters,
    });
    const supervisor = new Supervisor(source, command, workspace, options);
    await supervisor.start(signal);
    return supervisor;
  } catch (error) {
    await workspace.remove();
    throw error;
  }
}

function inspect(source: VddkSource, signal?: AbortSignal): Promise<NbdkitInspection> {
  const { nbdkit, plugin, libdir } = source;
  return inspectNbdkit({ nbdkit, plugin, libdir, ...(signal ? { signal } : {}) });
}

/** The server answered a read with an error, which nbdkit prints for every one before the answer. */
function isReadFailure(error: unknown): boolean {
  return error instanceof NbdError && error.code === "ENGINE_READ" && error.errno === "EIO";
}

const lifeThatClearsMs = 60_000;

class Supervisor implements NbdkitExport {
  readonly uri: string;
  readonly #source: VddkSource;
  readonly #command: NbdkitCommand;
  readonly #workspace: Workspace;
  readonly #options: NbdkitOptions;
  readonly #logger: Logger;
  readonly #output: NbdkitOutput;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #startedMs = 0;
  #restarts = 0;
  #reviving: Promise<void> = Promise.resolve();
  #gaveUp: MigratekitError | undefined;
  #stopped: Promise<void> | undefined;

  constructor(
    source: VddkSource,
    command: NbdkitCommand,
    workspace: Workspace,
    options: NbdkitOptions,
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
    const signals = [this.#stopping.signal, ...(signal ? [signal] : [])];
    const child = await launchNbdkit(this.#command, {
      password: this.#source.password,
      socketPath: this.#workspace.socketPath,
      output: this.#output,
      readyTimeoutMs: this.#options.readyTimeoutMs ?? 30_000,
      signal: AbortSignal.any(signals),
    });
    this.#child = child;
    this.#startedMs = performance.now();
    void exited(child).then(() => {
      if (!this.#stopping.signal.aborted) this.#reviving = this.#revive(describeExit(child));
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
    this.#stopping.abort();
    await this.#reviving;
    if (this.#child) {
      const outcome = await stopProcess(this.#child, this.#options.stop);
      if (outcome === "killed") {
        this.#logger.warn({ pid: this.pid }, "nbdkit did not end when asked to and was killed");
      } else if (outcome === "survived") {
        this.#logger.error({ pid: this.pid }, "nbdkit hangs in the kernel and could not be killed");
      }
    }
    await this.#workspace.remove().catch((error: unknown) => {
      this.#logger.warn(`could not remove ${this.#workspace.dir}: ${messageOf(error)}`);
    });
  }

  /** On the same socket, so that the engine's next attempt to connect finds it. Never rejects. */
  async #revive(ending: string): Promise<void> {
    const restartsMax = this.#options.restartsMax ?? 8;
    if (performance.now() - this.#startedMs >= lifeThatClearsMs) this.#restarts = 0;
    let reason = this.#describeDeath(ending);
    while (!this.#stopping.signal.aborted && this.#restarts < restartsMax) {
      const delayMs = Math.min(100 * 2 ** this.#restarts, 5_000);
      this.#restarts += 1;
      const attempt = `attempt ${this.#restarts} of ${restartsMax}`;
      this.#logger.warn(`${reason}; starting it again in ${delayMs} ms (${attempt})`);
      try {
        await sleep(delayMs, undefined, { signal: this.#stopping.signal });
        // nbdkit never removes its socket and does not bind to an existing path.
        await rm(this.#workspace.socketPath, { force: true });
        await this.start(undefined);
        return;
      } catch (error) {
        reason = messageOf(error);
      }
    }
    if (this.#stopping.signal.aborted) return;
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
