import type { Logger } from "pino";
import type { Config } from "../config.ts";
import type { ProgressForm } from "../option-types.ts";
import { openChannel } from "../progress/channel.ts";
import { JsonProgress } from "../progress/json-lines.ts";
import { PlainProgress } from "../progress/plain.ts";
import type { ProgressSnapshot } from "../progress/progress.ts";
import { TerminalProgress } from "../progress/terminal.ts";

/** Where one run shows how far it is. */
export interface ProgressView {
  follow(snapshot: () => ProgressSnapshot, logger: Logger, form: ProgressForm): void;
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
  #other: PlainProgress | JsonProgress | undefined;
  readonly #channel: ((line: string) => void) | undefined;

  /** @throws MigratekitError `usage` where progress shall go to a descriptor that is not open */
  constructor(
    config: Pick<Config, "colour" | "color" | "unicode" | "cursor" | "quiet" | "progress">,
  ) {
    const { colour, color, unicode, cursor, quiet, progress } = config;
    this.isLive = cursor && this.isTerminal && !quiet;
    this.colour = color === "always" || (colour && this.isTerminal);
    const stream = process.stderr;
    this.#terminal = new TerminalProgress({ stream, colour: this.colour, unicode });
    if (progress.kind !== "json") return;
    const { fd } = progress;
    this.#channel = fd === 2 ? (line) => this.write(line) : openChannel(fd);
  }

  /** For pino. */
  write(line: string): void {
    this.#terminal.writeAbove(line);
  }

  /** Shows progress from here on: bars on a terminal that can, where wanted, else a log line now and then. */
  follow(snapshot: () => ProgressSnapshot, logger: Logger, form: ProgressForm): void {
    if (form.kind === "auto" && this.isLive) {
      this.#terminal.start(snapshot);
    } else {
      this.#other = this.notLive(logger);
      this.#other.start(snapshot);
    }
  }

  /** What shows progress where nothing is drawn: for each VM of a list one of its own. */
  notLive(logger: Logger, vm?: string): PlainProgress | JsonProgress {
    const write = this.#channel;
    return write === undefined ? new PlainProgress({ logger }) : new JsonProgress({ write, vm });
  }

  stageChanged(): void {
    this.#other?.stageChanged();
  }

  stop(): void {
    this.#terminal.stop();
    this.#other?.stop();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
