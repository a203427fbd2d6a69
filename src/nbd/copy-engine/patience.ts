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
