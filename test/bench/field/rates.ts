/** What a target's books say of a copy: how fast it settled, and at which rate. */
import type { Entry } from "./servers.ts";

/** A rate is looked at over so long. */
const windowMs = 1000;

/** Bytes a second between two moments of the monotonic clock. */
export function rateBetween(entries: readonly Entry[], fromMs: number, toMs: number): number {
  const first = entries.find(({ ms }) => ms >= fromMs);
  const last = entries.findLast(({ ms }) => ms <= toMs);
  if (!first || !last || last.ms <= first.ms) return 0;
  return ((last.deliveredBytes - first.deliveredBytes) * 1000) / (last.ms - first.ms);
}

/**
 * How long after `fromMs` the rate over a second first reached so much, less the time in which connections to the
 * source were being opened; undefined: not before `toMs`.
 */
export function msUntilRate(
  entries: readonly Entry[],
  source: readonly Entry[],
  wanted: number,
  fromMs: number,
  toMs: number,
): number | undefined {
  for (const { ms } of entries) {
    if (ms - windowMs < fromMs || ms > toMs) continue;
    if (rateBetween(entries, ms - windowMs, ms) < wanted) continue;
    return Math.max(ms - windowMs - fromMs - openingMs(source, fromMs, ms), 0);
  }
  return undefined;
}

function openingMs(source: readonly Entry[], fromMs: number, toMs: number): number {
  let sum = 0;
  for (let i = 1; i < source.length; i++) {
    const { ms, opening } = source[i]!;
    if (ms > fromMs && ms <= toMs && opening > 0) sum += ms - source[i - 1]!.ms;
  }
  return sum;
}
