/** What a test does to the machine, and what others do to it meanwhile. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";

/** Two processes for each core that do nothing but run, until this is disposed of. */
export function keepBusy(): Disposable {
  const others = Array.from({ length: 2 * availableParallelism() }, () =>
    spawn("sh", ["-c", "while :; do :; done"]),
  );
  return {
    [Symbol.dispose]() {
      for (const other of others) other.kill();
    },
  };
}

/**
 * Others may keep the machine busy for a while: runs up to `attempts` times, until the outcome is good.
 * @returns that outcome, or the last one.
 */
export async function undisturbed<T>(
  attempts: number,
  run: () => Promise<T>,
  isGood: (outcome: T) => boolean,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await run();
    if (isGood(outcome) || attempt === attempts) return outcome;
  }
}
