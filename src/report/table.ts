/** What texts are made of: tables that fit a terminal, bars. */
import stringWidth from "string-width";
import type { Config } from "../config.ts";
import { withoutControls } from "../logger.ts";

/** What a text is written on. */
export interface Sheet {
  /** Of the terminal on stdout; undefined where there is none: nothing is cut there. */
  readonly columns: number | undefined;
  /** False: ASCII only. */
  readonly unicode: boolean;
}

/** Standard output as it is now. */
export function sheetOf({ unicode }: Pick<Config, "unicode">): Sheet {
  return { columns: process.stdout.isTTY ? process.stdout.columns : undefined, unicode };
}

/** A name from elsewhere, on one line of a terminal. */
export function shown(name: string): string {
  return withoutControls(name.replaceAll("\n", " "));
}

/**
 * Rows under headings, in columns; cells of numbers are written to the right. Lines longer than
 * the sheet is wide are cut, which costs the last column first.
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  sheet?: Sheet,
): string {
  const all = [headings, ...rows.map((row) => row.map(shown))];
  const widths = headings.map((_, column) =>
    Math.max(...all.map((row) => stringWidth(row[column] ?? ""))),
  );
  const line = (row: readonly string[]) => {
    const text = row
      .map((cell, column) => {
        const space = " ".repeat(widths[column]! - stringWidth(cell));
        return /^[\d.,]+( |$|%|:)/.test(cell) ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd();
    return sheet?.columns === undefined ? text : cutTo(text, sheet.columns, sheet.unicode);
  };
  return `${all.map(line).join("\n")}\n`;
}

/** `text` in at most so many columns of a terminal. */
function cutTo(text: string, columns: number, unicode: boolean): string {
  if (stringWidth(text) <= columns) return text;
  let cut = "";
  let width = 1; // of the mark
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += stringWidth(segment);
    if (width > columns) break;
    cut += segment;
  }
  return cut + (unicode ? "…" : ".");
}

const blocks = "▁▂▃▄▅▆▇█";
const blocksInAscii = "_.-:=+*#";

/** Numbers as a row of little bars, the largest one full. */
export function sparkline(values: readonly number[], { unicode }: Sheet): string {
  const ramp = unicode ? blocks : blocksInAscii;
  const largest = Math.max(1, ...values);
  return values.map((value) => ramp[Math.round((value / largest) * (ramp.length - 1))]).join("");
}

/** `████░░░░░░` for a percentage, `####------` in ASCII. */
export function bar(percent: number, width: number, { unicode }: Sheet): string {
  const full = Math.round((Math.min(100, Math.max(0, percent)) / 100) * width);
  return (unicode ? "█" : "#").repeat(full) + (unicode ? "░" : "-").repeat(width - full);
}
