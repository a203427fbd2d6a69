import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { listenerAt } from "../../living-mark.ts";
import { describeExit, hasExited } from "../../stop-process.ts";

const readyTimeoutMs = 30_000;
const pollMs = 10;

/**
 * Waits until a program that was started listens at its socket; gives why it does not, where it ends before or takes
 * too long. @throws the signal's reason
 */
export async function untilListening(
  child: ChildProcess,
  socket: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const deadlineMs = performance.now() + readyTimeoutMs;
  while ((await listenerAt(socket)) !== "some") {
    signal?.throwIfAborted();
    if (hasExited(child)) return describeExit(child);
    if (performance.now() > deadlineMs) return "it does not listen";
    await sleep(pollMs);
  }
  return undefined;
}
