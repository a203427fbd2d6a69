/** What all cells share, and how contenders meet: in turn, on a fresh target, compared after each run. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Contender, RunOutcome } from "./contenders.ts";
import type { Scale } from "./options.ts";
import { type ContenderResult, median, type Sample } from "./results.ts";
import { checkEqual, type Target } from "./servers.ts";
import type { Tools } from "./tools.ts";

export interface Workbench {
  /** In memory, for disks and sockets. */
  folder: string;
  tools: Tools;
  scale: Scale;
  pairs: number;
  /** Another checkout, with its addon built, whose engine runs beside ours. */
  before?: string | undefined;
  log(line: string): void;
}

/** What a target holds before a run, and must hold after it. */
export interface Work {
  target: Target;
  before: { before: string } | { sizeBytes: number };
  expectedPath: string;
}

const settleMs = 300;

/**
 * A run over a reset target. A source that takes one client may still be busy saying goodbye to the
 * last one, so a failure is tried again once.
 */
async function runOnce(contender: Contender, work: Work): Promise<RunOutcome> {
  await work.target.reset(work.before);
  try {
    return await contender.run();
  } catch {
    await sleep(settleMs);
    await work.target.reset(work.before);
    return await contender.run();
  }
}

/** The time of one run that is not compared: for sweeps. Failing settings take forever. */
export async function trialMs(contender: Contender, work: Work): Promise<number> {
  const outcome = await runOnce(contender, work).catch(() => undefined);
  return outcome?.sample.wallMs ?? Number.POSITIVE_INFINITY;
}

/**
 * At least `pairs` rounds; more, up to twice as many, while they end before the deadline. Each round
 * runs every contender once and begins with another one.
 */
export async function meet(
  bench: Workbench,
  contenders: Contender[],
  work: Work,
  deadline: number,
): Promise<ContenderResult[]> {
  const outcomes = new Map(contenders.map((contender) => [contender, [] as RunOutcome[]]));
  const startedAt = Date.now();
  for (let round = 0; round < 2 * bench.pairs; round++) {
    const expectedEnd = Date.now() + (Date.now() - startedAt) / Math.max(round, 1);
    if (round >= bench.pairs && expectedEnd > deadline) break;
    for (let i = 0; i < contenders.length; i++) {
      const contender = contenders[(i + round) % contenders.length]!;
      outcomes.get(contender)!.push(await runOnce(contender, work));
      if ((contender.share ?? 1) === 1)
        await checkEqual(work.target.path, work.expectedPath, contender.name);
    }
  }
  return contenders.map((contender) => summarize(contender, outcomes.get(contender)!));
}

function summarize(contender: Contender, outcomes: RunOutcome[]): ContenderResult {
  const { name, settings, share = 1 } = contender;
  const samples: Sample[] = outcomes.map(({ sample: { wallMs, cpuMs, peakBytes } }) => ({
    wallMs: wallMs / share,
    cpuMs: cpuMs / share,
    peakBytes,
  }));
  return {
    ...{ name, settings, share, samples },
    medianMs: median(samples.map(({ wallMs }) => wallMs)),
    cpuMsMedian: median(samples.map(({ cpuMs }) => cpuMs)),
    peakBytesMedian: median(samples.map(({ peakBytes }) => peakBytes)),
    engine: outcomes.at(-1)?.engine,
  };
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}
