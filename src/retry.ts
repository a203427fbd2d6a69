/** Trying again, for everything that may pass by itself: one loop, bounded, that an abort ends at once. */

import { setTimeout as sleep } from "node:timers/promises";

/** Calls in all, the first included, or the time from the first failure to the last call, or both. */
type RetryBound =
  | { readonly attemptsMax: number; readonly limitMs?: number }
  | { readonly attemptsMax?: number; readonly limitMs: number };

export type RetryPolicy = RetryBound & {
  /** Between the first two calls; doubles from one to the next. */
  readonly firstPauseMs: number;
  readonly pauseMsMax: number;
  /** Whether an error may pass by itself. Any may, by default. */
  readonly isPassing?: (error: unknown) => boolean | Promise<boolean>;
  /** Told before each pause, and awaited; `attempt` counts the calls that failed. */
  readonly onWait?: (wait: {
    readonly error: unknown;
    readonly attempt: number;
    readonly pauseMs: number;
  }) => unknown;
  readonly signal?: AbortSignal | undefined;
};

/**
 * What `work` gives, called again after errors that may pass. The last pause is shortened so that one
 * more call is made at the limit. Rejects with the last error as it is, or with the signal's reason.
 */
export async function retry<T>(work: () => Promise<T>, policy: RetryPolicy): Promise<T> {
  const { attemptsMax = Infinity, limitMs = Infinity, signal } = policy;
  let failedAtMs: number | undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      failedAtMs ??= performance.now();
      const leftMs = failedAtMs + limitMs - performance.now();
      if (attempt >= attemptsMax || leftMs <= 0) throw error;
      if (!((await policy.isPassing?.(error)) ?? true)) throw error;
      const { firstPauseMs, pauseMsMax } = policy;
      const pauseMs = Math.min(firstPauseMs * 2 ** (attempt - 1), pauseMsMax, leftMs);
      await policy.onWait?.({ error, attempt, pauseMs });
      await pause(pauseMs, signal);
    }
  }
}

/** Rejects with the signal's own reason, where a timer would wrap it. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw signal?.reason;
  }
}
