/**
 * Writes that may be asked for again, by this process or the next: look, do, look again. What an
 * answer said is never believed, only what is there.
 */

import { MigratekitError } from "../errors.ts";
import { pause } from "../retry.ts";
import { ApiFault, LostAnswer, toMigratekitError } from "./wire/faults.ts";
import type { Parameters } from "./wire/signature.ts";
import type { Wire } from "./wire/wire.ts";

/** On its way there without us: an attachment, a start that somebody else, or a dead run, asked for. */
export const underWay = Symbol("under way");

export interface Step<T> {
  /** Fits after "could not": `attach volume X to instance Y`. */
  readonly what: string;
  /** The goal, where it is reached; undefined where the command is to be asked. */
  readonly look: () => Promise<T | typeof underWay | undefined>;
  readonly command: string;
  readonly parameters: Parameters;
}

const attemptsMax = 3;

/** The goal, reached; asked for only where a look does not find it. @throws MigratekitError, the signal's reason */
export async function reach<T>(wire: Wire, step: Step<T>): Promise<T> {
  const { what, command, parameters } = step;
  try {
    for (let attempt = 1; ; attempt++) {
      const before = await settled(wire, step);
      if (before !== undefined) return before;
      let failure: unknown;
      try {
        await wire.write(command, parameters, what);
      } catch (error) {
        if (!(error instanceof LostAnswer || error instanceof ApiFault)) throw error;
        failure = error;
      }
      if (failure instanceof LostAnswer)
        wire.logger.warn({ command }, `${command}: ${failure.message}; looking what came of it`);
      const after =
        failure instanceof LostAnswer
          ? await foundLate(wire, step, failure)
          : await settled(wire, step);
      if (after !== undefined) return after;
      if (failure instanceof ApiFault) throw failure;
      if (attempt >= attemptsMax) throw failure ?? doneInVain(what, command);
    }
  } catch (error) {
    throw toMigratekitError(error, what);
  }
}

/**
 * A lost request may still be carried out until it expires, and a host may end what a management server has forgotten:
 * only then is not finding it an answer.
 */
async function foundLate<T>(wire: Wire, step: Step<T>, lost: LostAnswer) {
  for (;;) {
    const over = Date.now() > lost.overMs;
    const found = await settled(wire, step);
    if (found !== undefined || over) return found;
    if (lost.overMs === Infinity) throw lost;
    await pause(wire.pollMs, wire.signal);
  }
}

async function settled<T>(wire: Wire, step: Step<T>): Promise<T | undefined> {
  const startedMs = performance.now();
  for (;;) {
    const seen = await step.look();
    if (seen !== underWay) return seen;
    if (performance.now() - startedMs > wire.jobDeadlineMs) {
      const waited = `${Math.round(wire.jobDeadlineMs / 1000)} s`;
      throw new LostAnswer(step.command, `CloudStack was still at it after ${waited}`, Infinity);
    }
    await pause(wire.pollMs, wire.signal);
  }
}

function doneInVain(what: string, command: string): MigratekitError {
  return new MigratekitError(
    "cloudstack-job-failed",
    `could not ${what}: CloudStack called ${command} done, and it is not`,
  );
}
