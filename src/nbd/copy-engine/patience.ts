import { retry } from "../../retry.ts";
import { NbdError } from "./errors.ts";

/**
 * Repeats a short look at an export while its server comes back (a tunnel or nbdkit restarting):
 * what the engine does for copies. About 15 s, then the last error is thrown.
 */
export async function patiently<T>(
  signal: AbortSignal | undefined,
  look: () => Promise<T>,
  worthTrying: (error: NbdError) => boolean | Promise<boolean> = () => true,
): Promise<T> {
  return await retry(look, {
    attemptsMax: 8,
    firstPauseMs: 250,
    pauseMsMax: 4000,
    isPassing: async (error) => error instanceof NbdError && (await worthTrying(error)),
    signal,
  });
}

/** Of the time for one look. A server that is well greets within the first. */
const greetingShares = [0.05, 0.1, 0.2, 0.25, 0.4];

/**
 * Repeats a short look that had no answer in time, five times within `timeoutMs`. An NBD server speaks
 * first, and a connection that its accept queue had no room for hangs until it is made anew.
 * @throws NbdError of the last look; whatever else `look` throws
 */
export async function untilGreeted<T>(
  timeoutMs: number,
  signal: AbortSignal | undefined,
  look: (timeoutMs: number) => Promise<T>,
): Promise<T> {
  let attempt = 0;
  return await retry(() => look(Math.ceil(timeoutMs * greetingShares[attempt++]!)), {
    attemptsMax: greetingShares.length,
    firstPauseMs: 100,
    pauseMsMax: 200,
    isPassing: (error) => error instanceof NbdError && error.code === "ENGINE_TIMEOUT",
    signal,
  });
}
