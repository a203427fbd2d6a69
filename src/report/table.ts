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
  return `${tableLines(
    headings,
    rows.map((row) => row.map(shown)),
    sheet,
  ).join("\n")}\n`;
}

/** The headings, then a line for each row; cells are fit for a terminal already. */
function tableLines(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  sheet: Sheet | undefined,
): string[] {
  const widths = widthsOf(headings, rows);
  return [headings, ...rows].map((row) => {
    const text = row
      .map((cell, column) => {
        const space = " ".repeat(widths[column]! - stringWidth(cell));
        return /^[\d.,]+( |$|%|:)/.test(cell) ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd();
    return sheet?.columns === undefined ? text : cutTo(text, sheet.columns, sheet.unicode);
  });
}

function widthsOf(headings: readonly string[], rows: readonly (readonly string[])[]): number[] {
  return headings.map((heading, column) =>
    rows.reduce(
      (width, row) => Math.max(width, stringWidth(row[column] ?? "")),
      stringWidth(heading),
    ),
  );
}

/** A row of a table and what stands above and below it, indented. */
export interface DetailedRow {
  readonly above?: string | undefined;
  readonly cells: readonly string[];
  readonly below: readonly string[];
}

/**
 * As `table`, but the columns that do not fit stand below each row that has something in them (not "-"), and
 * there, indented, nothing is cut. The first `columnsMin` always stand in the table.
 */
export function detailedTable(
  headings: readonly string[],
  rows: readonly DetailedRow[],
  sheet: Sheet,
  { columnsMin, indent }: { readonly columnsMin: number; readonly indent: number },
): string {
  const cells = rows.map((row) => row.cells.map(shown));
  const fitting = columnsThatFit(widthsOf(headings, cells), sheet, columnsMin);
  const inTable = cells.map((row) => row.slice(0, fitting));
  const [head, ...lines] = tableLines(headings.slice(0, fitting), inTable, sheet);
  const broken = breaksTo(sheet);
  const all = rows.flatMap(({ above, below }, at) => [
    ...(above === undefined ? [] : [broken(above)]),
    lines[at]!,
    ...[...overflowOf(headings, cells[at]!, fitting), ...below]
      .map((line) => " ".repeat(indent) + line)
      .map(broken),
  ]);
  return `${[head!, ...all].join("\n")}\n`;
}

function columnsThatFit(widths: readonly number[], { columns }: Sheet, columnsMin: number): number {
  let count = widths.length;
  const width = () => widths.slice(0, count).reduce((sum, each) => sum + each + 2, -2);
  while (columns !== undefined && count > columnsMin && width() > columns) count--;
  return count;
}

/** What the table has no room for. */
function overflowOf(
  headings: readonly string[],
  row: readonly string[],
  fitting: number,
): string[] {
  const facts = row
    .map((cell, at) => ({ cell, text: `${headings[at]} ${cell}` }))
    .slice(fitting)
    .filter(({ cell }) => cell !== "-");
  return facts.length === 0 ? [] : [facts.map(({ text }) => text).join(", ")];
}

/** On a terminal a line that does not fit is broken, not cut: its end is what tells. */
export function breaksTo({ columns }: Sheet): (line: string) => string {
  if (columns === undefined) return (line) => line;
  const room = Math.max(20, columns);
  return (line) => {
    const lines: string[] = [];
    let now = "";
    for (const word of line.trimEnd().split(/(?<=\S)(?= )/)) {
      if (now !== "" && now.length + word.length > room) {
        lines.push(now);
        now = `   ${word}`;
      } else {
        now += word;
      }
    }
    return [...lines, now].join("\n");
  };
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
