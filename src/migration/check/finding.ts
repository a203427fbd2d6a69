/** What a preflight finds: one line each, with a remedy where something is amiss. */
import { type ErrorCode, MigratekitError, messageOf } from "../../errors.ts";
import { createLogger } from "../../logger.ts";

/** In the order in which a run would come upon them. */
export const areas = [
  "settings",
  "state",
  "vsphere",
  "vm",
  "lock",
  "source",
  "disk",
  "cloudstack",
  "target",
  "change-ids",
  "privileges",
  "host",
  "guest",
  "progress",
] as const;
export type Area = (typeof areas)[number];

export interface Finding {
  readonly area: Area;
  /** problem: a run would not start, or fail for certain. */
  readonly level: "ok" | "warning" | "problem";
  readonly message: string;
  /** Not for `ok`. */
  readonly remedy?: string;
  /** Of a problem; gives the exit code. */
  readonly code?: ErrorCode;
}

/** Nothing is amiss; `message` says what was found. */
export function ok(area: Area, message: string): Finding {
  return { area, level: "ok", message };
}

/** A run would start all the same; `remedy` says what would be better. */
export function warning(area: Area, message: string, remedy: string): Finding {
  return { area, level: "warning", message, remedy };
}

/** An error of the very function that a run would call. */
export function problem(area: Area, error: unknown): Finding {
  if (error instanceof MigratekitError) {
    const { code, message, remedy } = error;
    return { area, level: "problem", message, remedy, code };
  }
  return problem(area, new MigratekitError("bug", messageOf(error)));
}

/** The findings of a probe, whatever it throws; only an interruption gets through. */
export async function probe(
  area: Area,
  signal: AbortSignal,
  look: () => Finding[] | Promise<Finding[]>,
): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    signal.throwIfAborted();
    return [problem(area, error)];
  }
}

/** As `probe`, of what waits for nothing. */
export function tried(area: Area, look: () => Finding[]): Finding[] {
  try {
    return look();
  } catch (error) {
    return [problem(area, error)];
  }
}

/** A logger for the functions of a run, whose warnings become findings. */
export function warningsOf(onWarning: (message: string) => void) {
  return createLogger({
    level: "warn",
    pretty: false,
    destination: {
      write(line: string) {
        const { level, msg } = JSON.parse(line) as { level: number; msg?: string };
        if (level === 40 && msg !== undefined) onWarning(msg); // errors are thrown as well
      },
    },
  });
}

/** By area, in the order in which a run would come upon them; within one as they were found. */
export function inOrder(findings: readonly Finding[]): Finding[] {
  return [...findings].sort((a, b) => areas.indexOf(a.area) - areas.indexOf(b.area));
}

/** One cause that two probes met is one finding. */
export function withoutRepeats(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ level, message }) => {
    if (seen.has(`${level} ${message}`)) return false;
    seen.add(`${level} ${message}`);
    return true;
  });
}
