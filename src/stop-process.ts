/** Ending a child process: a polite signal, a bounded wait, then force. */
import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { hasSystemCode } from "./errors.ts";

export interface StopOptions {
  /** How long the process may take to end after SIGTERM. */
  readonly termTimeoutMs?: number;
  /** How long to wait for the kernel after SIGKILL; only a process stuck in a system call needs it. */
  readonly killTimeoutMs?: number;
}

/** `survived`: not even SIGKILL ended it in time (it hangs in the kernel). */
export type StopOutcome = "was-dead" | "terminated" | "killed" | "survived";

/**
 * Ends `child`, which must have been spawned `detached`, that is as leader of its own process
 * group: SIGTERM goes to the process, SIGKILL to the whole group. Never rejects.
 */
export async function stopProcess(
  child: ChildProcess,
  options: StopOptions = {},
): Promise<StopOutcome> {
  const { termTimeoutMs = 5_000, killTimeoutMs = 5_000 } = options;
  if (child.pid === undefined || hasExited(child)) return "was-dead";
  child.kill("SIGTERM");
  if (await exitedWithin(child, termTimeoutMs)) return "terminated";
  killGroup(child.pid);
  return (await exitedWithin(child, killTimeoutMs)) ? "killed" : "survived";
}

/** Whether Node has heard of its end. */
export function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Resolves when the process is gone, whatever its pipes do: a grandchild may hold those open. */
export function exited(child: ChildProcess): Promise<void> {
  if (hasExited(child) || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

/** The last words of a dead process may still be on their way; a grandchild must not hold us up. */
export async function drained(child: ChildProcess): Promise<void> {
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
  const ends = streams.map(
    (stream) =>
      new Promise((resolve) =>
        stream.closed ? resolve(undefined) : stream.once("close", resolve),
      ),
  );
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, 1_000);
  await Promise.race([Promise.all(ends), promise]);
  clearTimeout(timer);
}

/** "exit code 1" or "SIGABRT". */
export function describeExit(child: ChildProcess): string {
  return child.signalCode ?? `exit code ${child.exitCode ?? "unknown"}`;
}

async function exitedWithin(child: ChildProcess, timeoutMs: number): Promise<boolean> {
  const timer = new AbortController();
  const timeout = sleep(timeoutMs, undefined, { signal: timer.signal }).catch(() => {});
  await Promise.race([exited(child), timeout]);
  timer.abort();
  return hasExited(child);
}

/** Only while the leader has not been reaped: afterwards the number may belong to somebody else. */
function killGroup(leaderPid: number): void {
  try {
    process.kill(-leaderPid, "SIGKILL");
  } catch (error) {
    if (!hasSystemCode(error, "ESRCH")) throw error;
  }
}
