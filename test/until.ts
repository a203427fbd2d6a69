import { setTimeout as sleep } from "node:timers/promises";

const pollMs = 10;
/** A cutover takes ten seconds, and was seen to take forty on a machine that does five other things. */
const usualLimitMs = 180_000;

/** Waits for a condition, not for a time; the bound is only there so that a failure ends. */
export async function until(
  what: string,
  holds: () => unknown,
  limitMs = usualLimitMs,
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs)
      throw new Error(`waited ${limitMs / 1000} s in vain: ${what}`);
    await sleep(pollMs);
  }
}
