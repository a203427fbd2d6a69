/** What the tests of this folder share: a logger that keeps its lines. */
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
