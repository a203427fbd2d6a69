import { nbdErrorOf, type Side } from "./errors.ts";
import type { NativeCallback, NativeFailure, NativeTask } from "./native-types.ts";

/** An aborted operation settles within this, even when a thread still waits for a name server. */
const abortGraceMs = 900;

/** Native work that runs now; stopped in order when the process exits in the middle of it. */
const running = new Set<NativeTask>();
let watchesExit = false;

interface RunOptions {
  signal: AbortSignal | undefined;
  /** What the failure's side is called; absent: as native says. */
  side?: Side;
  events?: Record<string, (value: unknown) => void>;
}

/**
 * Starts native work and turns its callbacks into a promise: rejects with NbdError, with the
 * signal's reason, or with what a callback threw (the work is aborted then).
 */
export function runNative<Result>(
  options: RunOptions,
  start: (callback: NativeCallback) => NativeTask,
): Promise<Result> {
  const { signal, events } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  let thrown: { error: unknown } | undefined;
  let grace: NodeJS.Timeout | undefined;

  const onAbort = (): void => {
    task.abort();
    grace = setTimeout(() => settle(() => reject(signal?.reason)), abortGraceMs);
  };
  const settle = (outcome: () => void): void => {
    clearTimeout(grace);
    signal?.removeEventListener("abort", onAbort);
    outcome();
  };
  const task = start((type, value) => {
    if (type === "done" || type === "failed") {
      running.delete(task);
      settle(() => {
        if (thrown) reject(thrown.error);
        else if (type === "done") resolve(value as Result);
        else if (signal?.aborted) reject(signal.reason);
        else reject(nbdErrorOf(value as NativeFailure, options.side));
      });
      return;
    }
    if (thrown) return;
    try {
      events?.[type]?.(value);
    } catch (error) {
      thrown = { error };
      task.abort();
    }
  });
  running.add(task);
  watchExit();
  signal?.addEventListener("abort", onAbort, { once: true });
  return promise;
}

// Threads that live on while the process tears down its libraries would crash it.
function watchExit(): void {
  if (watchesExit) return;
  watchesExit = true;
  process.on("exit", () => {
    for (const task of running) task.abort();
    for (const task of running) task.abortAndWait();
  });
}
