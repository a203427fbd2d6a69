import { setTimeout as sleep } from "node:timers/promises";
import { NbdError } from "../../nbd/copy-engine/copy-engine.ts";

const attemptsMax = 8;
const firstPauseMs = 250;
const pauseMsMax = 4000;

/**
 * Repeats a short look at an export while its server comes back (a tunnel or nbdkit restarting):
 * what the engine does for copies. About 15 s, then the last error is thrown.
 */
export async function patiently<T>(
  signal: AbortSignal | undefined,
  look: () => Promise<T>,
  worthTrying: (error: NbdError) => boolean | Promise<boolean> = () => true,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await look();
    } catch (error) {
      const again =
        error instanceof NbdError && attempt < attemptsMax && (await worthTrying(error));
      if (!again) throw error;
      await sleep(Math.min(firstPauseMs * 2 ** (attempt - 1), pauseMsMax), undefined, { signal });
    }
  }
}
