/**
 * One disk of one snapshot as an NBD export on a private Unix socket: a real nbdkit with the VDDK
 * plugin, watched over, started again when it dies, and gone without a trace when stopped.
 */
import type { MigratekitError } from "../../errors.ts";
import { nbdkitCommand, type VddkSource } from "./command.ts";
import { inspectNbdkit, type NbdkitInspection } from "./inspect.ts";
import { passwordFd } from "./launch.ts";
import { removeNbdkitLeftovers } from "./leftovers.ts";
import { Supervisor, type SupervisorOptions } from "./supervisor.ts";
import { makeWorkspace, vddkConfigFile } from "./workspace.ts";

export interface NbdkitOptions extends SupervisorOptions {
  /** Ends a start under way; once started, use `stop`. */
  readonly signal?: AbortSignal;
  /** What `inspectNbdkit` said; absent: it is asked. */
  readonly inspection?: NbdkitInspection;
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
  /**
   * Ends the process for the time being: TERM, a bounded wait, KILL. Its socket's place and what it said
   * stay. Never rejects.
   */
  rest(): Promise<void>;
  /**
   * Starts it again after `rest`, at the same socket; does nothing while it runs.
   * @throws MigratekitError naming the cause; the signal's reason
   */
  wake(signal: AbortSignal): Promise<void>;
  /** As `rest`, where it does not rest already, until `resume`. Never rejects. */
  pause(): Promise<void>;
  /**
   * Starts it again where `pause` ended it, and nobody else has since. One that does not come up is tried again, as
   * one that died is. Never rejects.
   */
  resume(signal: AbortSignal): Promise<void>;
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
