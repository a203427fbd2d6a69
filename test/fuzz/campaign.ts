// Many runs from one seed: a few at a time, none may fail, and nothing may go wrong behind their backs.

import assert from "node:assert/strict";

export type Outcome = "value" | "error";

/** One run; rejects when something happened that must not. */
export type FuzzRun = (index: number, seed: number) => Promise<Outcome>;

export interface Campaign {
  readonly name: string;
  readonly count: number;
  readonly seed: number;
  /** The first run's number; with a count of 1 it repeats one. [0] */
  readonly from?: number;
  readonly lanes?: number;
  readonly run: FuzzRun;
  onProgress?(done: number): void;
}

export interface Tally {
  value: number;
  error: number;
}

const failuresShown = 5;

/** @throws AssertionError naming seed and number of the runs that failed */
export async function runCampaign(campaign: Campaign): Promise<Tally> {
  const { name, count, seed, from = 0, lanes = 6, run } = campaign;
  const tally: Tally = { value: 0, error: 0 };
  const failures: unknown[] = [];
  const uncaught = (error: unknown) => {
    failures.push(new Error("not caught by any run", { cause: error }));
  };
  process.on("uncaughtException", uncaught);
  process.on("warning", uncaught);
  const prototype = Object.getOwnPropertyNames(Object.prototype).sort();
  let next = from;
  const lane = async () => {
    while (next < from + count && failures.length < failuresShown) {
      const index = next++;
      try {
        tally[await run(index, seed)] += 1;
      } catch (cause) {
        failures.push(new Error(`${name}: run ${index} of seed ${seed}`, { cause }));
      }
      if ((index - from) % 1_000 === 999) campaign.onProgress?.(index - from + 1);
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
  process.off("uncaughtException", uncaught);
  process.off("warning", uncaught);
  assert.deepEqual(Object.getOwnPropertyNames(Object.prototype).sort(), prototype);
  if (failures.length > 0) throw new AggregateError(failures, `${name}: ${describe(failures)}`);
  return tally;
}

function describe(failures: readonly unknown[]): string {
  return failures
    .map((failure) => {
      const words: string[] = [];
      for (let error = failure; error instanceof Error; error = error.cause)
        words.push(error.message);
      return words.join(": ").slice(0, 1_000);
    })
    .join("\n");
}

/** What a run is given until it must be over, whatever its peers do. */
export async function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${timeoutMs} ms`)), timeoutMs);
  });
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
