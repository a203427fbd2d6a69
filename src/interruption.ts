import { constants } from "node:os";
import { exitCodes, MigratekitError } from "./errors.ts";

/** The reason of the abort signal after SIGINT, SIGTERM or SIGHUP. */
export class Interruption extends Error {
  override readonly name = "AbortError";
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }

  /** 128+N. */
  get exitCode(): number {
    return 128 + constants.signals[this.signal];
  }
}

/** The one word that a machine reads for anything thrown: in logs and in `--json`. */
export function codeOf(error: unknown): string {
  if (error instanceof Interruption) return "interrupted";
  return error instanceof MigratekitError ? error.code : "bug";
}

/** The exit code of a command that ends with anything thrown: 128+N for a signal. */
export function exitCodeOf(error: unknown): number {
  const known = error instanceof MigratekitError || error instanceof Interruption;
  return known ? error.exitCode : exitCodes.bug;
}
