import type { Logger } from "pino";
import { messageOf } from "./errors.ts";

/**
 * Does what only tells of a run: progress, history, metrics. Where it fails, that is a warning, and
 * nothing ends otherwise because of it. `failed` is the warning, less its cause.
 */
export function reportOnly(logger: Logger, failed: string, report: () => void): void {
  try {
    report();
  } catch (error) {
    logger.warn(`${failed}: ${messageOf(error)}`);
  }
}
