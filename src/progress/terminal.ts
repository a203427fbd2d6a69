/**
 * The live view on a terminal. Everything that goes to the terminal while it runs has to go through
 * it: log lines are written above the bars.
 */
import stringWidth from "string-width";
import type { ProgressSnapshot } from "./progress.ts";
import { progressLines } from "./terminal-lines.ts";

/** What is needed of `process.stderr`. */
interface TerminalStream {
  write(text: string): unknown;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

interface TerminalOptions {
  readonly stream: TerminalStream;
  /** False with NO_COLOR. */
  readonly colour: boolean;
  /** False: ASCII only [true]. */
  readonly unicode?: boolean;
  readonly frameMs?: number;
}

const csi = "\u001b[";
const hideCursor = `${csi}?25l`;
const showCursor = `${csi}?25h`;
/** Terminals that know it show the frame at once; others ignore it. */
const beginFrame = `${csi}?2026h`;
const endFrame = `${csi}?2026l`;
const eraseLine = `${csi}2K`;
const eraseToEndOfLine = `${csi}K`;
const eraseBelow = `${csi}J`;

export class TerminalProgress implements Disposable {
  readonly #stream: TerminalStream;
  readonly #colour: boolean;
  readonly #unicode: boolean;
  readonly #frameMs: number;
  #getSnapshot: (() => ProgressSnapshot) | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** What stands on the terminal now, right above the cursor. */
  #shown: string[] = [];
  #shownColumns = 0;

  constructor(options: TerminalOptions) {
    this.#stream = options.stream;
    this.#colour = options.colour;
    this.#unicode = options.unicode ?? true;
    this.#frameMs = options.frameMs ?? 100;
  }

  start(getSnapshot: () => ProgressSnapshot): void {
    this.#getSnapshot = getSnapshot;
    this.#paint("");
    this.#timer ??= setInterval(() => this.#paint(""), this.#frameMs).unref();
  }

  /**
   * Writes lines that stay. Works before `start` and after `stop` as well, so that it can be the
   * logger's destination for the whole life of the process.
   */
  writeAbove(text: string): void {
    if (text === "") return;
    if (this.#getSnapshot === undefined) this.#stream.write(text);
    else this.#paint(text.endsWith("\n") ? text : `${text}\n`);
  }

  /** For pino: `createLogger({ destination: view.logDestination, … })`. */
  readonly logDestination = { write: (line: string): void => this.writeAbove(line) };

  /** Draws the last state and leaves it standing. Safe to call twice. */
  stop(): void {
    if (this.#getSnapshot === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#paint("");
    this.#getSnapshot = undefined;
    this.#shown = [];
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  /** What cannot be drawn is given up: log lines still come, and the run goes on. */
  #paint(above: string): void {
    try {
      this.#draw(above, this.#getSnapshot!());
    } catch {
      clearInterval(this.#timer);
      this.#getSnapshot = undefined;
      this.#stream.write(above);
    }
  }

  /**
   * One write per frame, over the old one instead of after erasing it: no flicker. The cursor is
   * hidden only within the write, so that even a kill between two frames leaves it visible.
   */
  #draw(above: string, state: ProgressSnapshot): void {
    const columns = this.#stream.columns ?? 80;
    const lines = progressLines(state, {
      columns,
      rows: this.#stream.rows ?? 24,
      colour: this.#colour,
      unicode: this.#unicode,
    });
    const unchanged =
      lines.length === this.#shown.length && lines.every((line, i) => line === this.#shown[i]);
    if (above === "" && unchanged && columns === this.#shownColumns) return;
    const up = shownRows(this.#shown, columns);
    // Rows that a resize wrapped keep that mark in some terminals until they are erased; at the next
    // resize they would be joined again, and what stands above painted over.
    const eraseFirst = columns === this.#shownColumns ? "" : eraseLine;
    const text = eraseFirst + above + lines.map((line) => `${eraseFirst}${line}\n`).join("");
    this.#stream.write(
      beginFrame +
        hideCursor +
        (up > 0 ? `${csi}${up}A\r` : "") +
        text.replaceAll("\n", `${eraseToEndOfLine}\n`) +
        eraseBelow +
        showCursor +
        endFrame,
    );
    this.#shown = lines;
    this.#shownColumns = columns;
  }
}

/** How many rows the lines take now: a terminal made narrower has wrapped them. */
function shownRows(lines: readonly string[], columns: number): number {
  return lines.reduce(
    (rows, line) => rows + Math.max(1, Math.ceil(stringWidth(line) / columns)),
    0,
  );
}
