import { constants } from "node:os";

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
