/** What the tests of this folder share: a logger that keeps its lines, and waiting for conditions. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { createLogger } from "../../src/logger.ts";

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export function captureLogger(): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) };
  return { logger: createLogger({ level: "debug", pretty: false, destination }), lines };
}

/** Waits for a condition, not for a time; the bound is only there so that a failure ends. */
export async function waitFor(what: string, condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`waited in vain for ${what}`);
    await sleep(5);
  }
}
