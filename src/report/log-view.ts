import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { PlainProgress } from "../progress/plain.ts";
import type { ProgressSnapshot } from "../progress/progress.ts";
import { TerminalProgress } from "../progress/terminal.ts";

/** Where one run shows how far it is. */
export interface ProgressView {
  follow(snapshot: () => ProgressSnapshot, logger: Logger, live: boolean): void;
  stageChanged(): void;
  stop(): void;
}

/** What people see on stderr: log lines, and on a terminal live progress below them. */
export class LogView implements ProgressView, Disposable {
  readonly isTerminal = process.stderr.isTTY === true;
  /** Whether lines can be drawn over. */
  readonly isLive: boolean;
  readonly colour: boolean;
  readonly #terminal: TerminalProgress;
  #plain: PlainProgress | undefined;

  constructor({ colour, unicode, cursor }: Pick<Config, "colour" | "unicode" | "cursor">) {
    this.isLive = cursor && this.isTerminal;
    this.colour = colour && this.isTerminal;
    const stream = process.stderr;
    this.#terminal = new TerminalProgress({ stream, colour: this.colour, unicode });
  }

  /** For pino. */
  write(line: string): void {
    this.#terminal.writeAbove(line);
  }

  /** Shows progress from here on: bars on a terminal that can, where wanted, else a log line now and then. */
  follow(snapshot: () => ProgressSnapshot, logger: Logger, live: boolean): void {
    if (live && this.isLive) {
      this.#terminal.start(snapshot);
    } else {
      this.#plain = new PlainProgress({ logger });
      this.#plain.start(snapshot);
    }
  }

  stageChanged(): void {
    this.#plain?.stageChanged();
  }

  stop(): void {
    this.#terminal.stop();
    this.#plain?.stop();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
