/** One life of one nbdkit process: spawned, given its password, listening. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { MigratekitError } from "../../errors.ts";
import { describeExit, drained, exited, stopProcess } from "../../stop-process.ts";
import { cannotRun } from "./ask.ts";
import type { NbdkitCommand } from "./command.ts";
import type { NbdkitOutput } from "./output.ts";
import { waitForNbdServer } from "./ready.ts";

/** The descriptor of the child on which it finds the password; 0 to 2 are not allowed by nbdkit. */
export const passwordFd = 3;

export interface LaunchOptions {
  readonly password: string;
  readonly socketPath: string;
  readonly output: NbdkitOutput;
  readonly readyTimeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Resolves with the process once it listens. On every other ending the process is gone.
 * @throws the signal's reason, or MigratekitError with the cause that nbdkit printed.
 */
export async function launchNbdkit(
  command: NbdkitCommand,
  options: LaunchOptions,
): Promise<ChildProcess> {
  options.signal.throwIfAborted();
  const child = spawnNbdkit(command, options.output);
  if (child.pid === undefined) throw cannotRun(command.program, (await once(child, "error"))[0]);
  handOver(child.stdio[passwordFd] as Writable, options.password);
  const ended = new AbortController();
  void exited(child).then(() => ended.abort());
  const timeout = AbortSignal.timeout(options.readyTimeoutMs);
  const signal = AbortSignal.any([ended.signal, timeout, options.signal]);
  try {
    await waitForNbdServer(options.socketPath, signal);
    return child;
  } catch {
    await stopProcess(child, { termTimeoutMs: 1_000 });
    options.signal.throwIfAborted();
    await drained(child);
    throw startFailure(child, options, timeout.aborted);
  }
}

/** As leader of a process group of its own: Ctrl-C in the terminal is ours to handle, not nbdkit's. */
function spawnNbdkit(command: NbdkitCommand, output: NbdkitOutput): ChildProcess {
  let child: ChildProcess;
  try {
    child = spawn(command.program, command.args, {
      cwd: "/",
      detached: true,
      env: command.env,
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
  } catch (error) {
    throw cannotRun(command.program, error);
  }
  output.follow(child.stdout as Readable);
  output.follow(child.stderr as Readable);
  return child;
}

/** One line, then the end. A child that died early breaks the pipe, which its exit tells better. */
function handOver(pipe: Writable, password: string): void {
  pipe.on("error", () => {});
  pipe.end(`${password}\n`);
}

function startFailure(
  child: ChildProcess,
  options: LaunchOptions,
  timedOut: boolean,
): MigratekitError {
  const cause = options.output.rootCause();
  if (cause) return cause;
  const words = options.output.lastWords();
  const said = words === undefined ? "and printed nothing" : `and said: ${words.slice(0, 300)}`;
  const message = timedOut
    ? `nbdkit did not listen on its socket within ${options.readyTimeoutMs / 1_000} s ${said}`
    : `nbdkit ended before it listened (${describeExit(child)}) ${said}`;
  return new MigratekitError("source-open", message, {
    remedy: "Run with --debug to see all that nbdkit printed.",
    context: { exit: describeExit(child) },
  });
}
