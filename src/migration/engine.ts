import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { Engine } from "../nbd/copy-engine/copy-engine.ts";
import { minuteOfDay, type RatePlan, rateAt } from "../rate-plan.ts";
import { formatRate } from "../text.ts";
import type { RunLease } from "./lease.ts";

/** How late a change of the rate may come. */
const lookIntervalMs = 5000;

/** The day's clock, for tests that do not wait for it. */
export interface DayClock {
  readonly minuteNow: () => number;
  readonly lookMs: number;
}

const localClock: DayClock = {
  minuteNow: () => minuteOfDay(new Date()),
  lookMs: lookIntervalMs,
};

/** For all disks of a run, at the rate that the hour allows; its copies write while `lease` holds. @throws `native-missing` */
export function openEngine(
  config: Pick<Config, "maxRate" | "memory" | "stallTimeout" | "flushTimeout">,
  logger?: Logger,
  lease?: Pick<RunLease, "guard">,
  clock: DayClock = localClock,
): Engine {
  const { maxRate, memory, stallTimeout, flushTimeout } = config;
  const engine = new Engine({
    maxBytesPerSecond: maxRate && rateAt(maxRate, clock.minuteNow()),
    memoryBytes: memory,
    stallTimeoutMs: stallTimeout,
    flushTimeoutMs: flushTimeout,
  });
  lease?.guard(engine);
  if (maxRate !== undefined && maxRate.length > 1) followPlan(engine, maxRate, logger, clock);
  return engine;
}

/** Until the engine is closed. */
function followPlan(
  engine: Engine,
  plan: RatePlan,
  logger: Logger | undefined,
  { minuteNow, lookMs }: DayClock,
): void {
  let rate = rateAt(plan, minuteNow());
  logger?.info(`--max-rate: ${rateText(rate)} at this time of the day`);
  const timer = setInterval(() => {
    const now = rateAt(plan, minuteNow());
    if (engine.closed) clearInterval(timer);
    if (engine.closed || now === rate) return;
    rate = now;
    engine.limitRate(rate);
    logger?.info(`--max-rate: ${rateText(rate)} from now on`);
  }, lookMs).unref();
}

function rateText(bytesPerSecond: number): string {
  return bytesPerSecond === 0 ? "no limit" : formatRate(bytesPerSecond);
}
