/** What texts are made of: tables that fit a terminal, bars. */
import stringWidth from "string-width";
import { withoutControls } from "../logger.ts";

/** Columns of the terminal on stdout; undefined where there is none: nothing is cut there. */
export function terminalColumns(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}

/** A name from elsewhere, on one line of a terminal. */
export function shown(name: string): string {
  return withoutControls(name.replaceAll("\n", " "));
}

/**
 * Rows under headings, in columns; cells of numbers are written to the right. Lines longer than
 * `columns` are cut, which costs the last column first.
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  columns?: number,
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
    return columns === undefined ? text : cutTo(text, columns);
  };
  return `${all.map(line).join("\n")}\n`;
}

/** `text` in at most so many columns of a terminal. */
function cutTo(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  let cut = "";
  let width = 1; // of the mark
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += stringWidth(segment);
    if (width > columns) break;
    cut += segment;
  }
  return `${cut}…`;
}

const blocks = "▁▂▃▄▅▆▇█";

/** Numbers as a row of little bars, the largest one full. */
export function sparkline(values: readonly number[]): string {
  const largest = Math.max(1, ...values);
  return values
    .map((value) => blocks[Math.round((value / largest) * (blocks.length - 1))])
    .join("");
}

/** `████░░░░░░` for a percentage. */
export function bar(percent: number, width = 20): string {
  const full = Math.round((Math.min(100, Math.max(0, percent)) / 100) * width);
  return "█".repeat(full) + "░".repeat(width - full);
}
