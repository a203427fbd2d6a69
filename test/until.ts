import { setTimeout as sleep } from "node:timers/promises";

const pollMs = 10;
const timeoutMs = 60_000;

/** Waits for a condition, not for a time; the bound is only there so that a failure ends. */
export async function until(what: string, holds: () => unknown): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`waited a minute in vain: ${what}`);
    await sleep(pollMs);
  }
}
