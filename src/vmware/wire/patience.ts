/** Waiting out faults that pass by themselves; faults.ts says which those are. */

import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { retry } from "../../retry.ts";
import { kindOf, LastingFault, VimFault } from "./faults.ts";

export interface PatienceOptions {
  /** How long, from the first such fault on; 0: not at all. */
  readonly busyMs: number;
  /** How long at most after `hurry`: default 20 s. */
  readonly hurriedMs?: number | undefined;
  readonly logger: Logger;
  /** Told what is waited for, for people; undefined when it is over. */
  readonly onWaiting?: ((what: string | undefined) => void) | undefined;
}

export interface Wait {
  /** Whether this fault, which passes by itself, is waited out here; `failures` counts what failed so far. */
  readonly mayPass: (fault: VimFault, failures: number) => boolean;
  /** Which task is in the way, where that can be found out. */
  readonly findOther?: ((fault: VimFault) => Promise<string | undefined>) | undefined;
  /** Ends the waiting at once. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Shortens the waiting, for what must be tidied up before the end: nobody waits long for a program that was
   * told to end, and the next run tidies up as well.
   */
  readonly hurry?: AbortSignal | undefined;
}

export class Patience {
  readonly #options: PatienceOptions;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /**
   * What `work` gives, done again after faults that pass. One that does not pass in the time given is thrown
   * as `LastingFault`; any other error as it is.
   */
  async outlast<T>(work: () => Promise<T>, wait: Wait): Promise<T> {
    const startedMs = performance.now();
    const { logger, busyMs, hurriedMs = 20_000, onWaiting = () => {} } = this.#options;
    let failures = 0;
    let other: string | undefined;
    let told: string | undefined;
    let hurryUntilMs = Infinity;
    const passing = (error: unknown) => {
      const fault = passingFault(error);
      return fault !== undefined && wait.mayPass(fault, failures) ? fault : undefined;
    };
    const tell = async (fault: VimFault) => {
      other = await wait.findOther?.(fault);
      const what = waitingFor(fault, other);
      if (what !== told) logger.warn({ fault: fault.fault }, `${what}; trying again for a while`);
      told = what;
      onWaiting(what);
    };
    try {
      return await retry(work, {
        limitMs: busyMs,
        firstPauseMs: 500,
        pauseMsMax: 5_000,
        isPassing: (error) => {
          failures += 1;
          const nowMs = performance.now();
          if (wait.hurry?.aborted) hurryUntilMs = Math.min(hurryUntilMs, nowMs + hurriedMs);
          return passing(error) !== undefined && nowMs < hurryUntilMs;
        },
        onWait: ({ error }) => tell(passing(error)!),
        signal: wait.signal,
      });
    } catch (error) {
      const fault = busyMs > 0 ? passing(error) : undefined;
      throw fault ? new LastingFault(fault, performance.now() - startedMs, other) : error;
    } finally {
      if (told !== undefined) onWaiting(undefined);
    }
  }
}

/** One that came at a login is wrapped already. */
function passingFault(error: unknown): VimFault | undefined {
  const fault = error instanceof MigratekitError ? error.cause : error;
  if (!(fault instanceof VimFault) || fault instanceof LastingFault) return undefined;
  const kind = kindOf(fault);
  return kind === undefined || kind === "changes" ? undefined : fault;
}

function waitingFor(fault: VimFault, other: string | undefined): string {
  return kindOf(fault) === "busy"
    ? `waiting for another task: ${other ?? fault.message}`
    : `waiting for vSphere: ${fault.message}`;
}
