/** The live view as text: pure, one line per disk and a total, fitted to the terminal. */
import stringWidth from "string-width";
import { formatBytesOf, formatDuration, formatRate } from "../text.ts";
import type { Amounts, DiskProgress, ProgressSnapshot } from "./progress.ts";

export interface View {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
  /** False on a terminal that knows ASCII only. */
  readonly unicode: boolean;
}

interface ProgressRow {
  readonly name: string;
  readonly kind: string;
  readonly amounts: Amounts;
  /** Well ended. */
  readonly over: boolean;
  /** Nothing goes on, so there is no rate. */
  readonly atRest: boolean;
  readonly note: string;
  readonly total: boolean;
}

/** Widths of the columns; 0: not shown. */
interface Layout {
  readonly name: number;
  readonly kind: number;
  readonly bar: number;
  readonly rate: number;
  readonly eta: number;
  readonly note: number;
}

const bytesWidth = "99.9/99.9 GiB".length;
const percentWidth = "100%".length;
const rateWidth = "99.9 MiB/s".length;
const etaShortWidth = "9:59:59".length;
const etaLongWidth = etaShortWidth + "ETA ".length;
const kindWidth = "incr".length;
const barWidthMin = 10;
const barWidthMax = 40;
/** The longest stage fits. */
const noteWidthMin = "PersistChangeIDs".length;
const nameWidthMax = 16;

/** No line is as wide as the terminal, so that none wraps; there are fewer lines than it has rows. */
export function progressLines(state: ProgressSnapshot, view: View): string[] {
  const width = Math.max(1, view.columns - 1);
  const doing = `${state.stage}${state.detail === undefined ? "" : `: ${state.detail}`}`;
  if (state.disks.length === 0) {
    return [fit(`${formatDuration(state.stageSeconds)}  ${doing}`, width, view).trimEnd()];
  }
  const totalRow: ProgressRow = {
    name: "total",
    kind: "",
    amounts: state.total,
    over: state.stage === "Complete",
    atRest:
      state.stage === "Complete" || state.disks.every((disk) => disk.finished || disk.stopped),
    note: doing,
    total: true,
  };
  const rows = [...state.disks.map(diskRow), totalRow];
  const layout = layoutFor(rows, width);
  // What does not fit beside the total has a line of its own: nobody else says it.
  const fits = stringWidth(doing) <= layout.note;
  const extra = fits ? [] : [fit(doing, width, view).trimEnd()];
  // One row stays free for the cursor.
  const room = Math.max(1, view.rows - 1 - extra.length - 1);
  return [
    ...diskLines(rows.slice(0, -1), room, (row) => rowLine(row, layout, width, view)),
    rowLine(fits ? totalRow : { ...totalRow, note: "" }, layout, width, view),
    ...extra,
  ].slice(-Math.max(1, view.rows - 1));
}

/** When there are more disks than rows, those still at work are shown and the rest counted. */
function diskLines(
  rows: ProgressRow[],
  room: number,
  line: (row: ProgressRow) => string,
): string[] {
  if (rows.length <= room) return rows.map(line);
  const atWork = rows.filter((row) => !row.over && row.amounts.throughputBps > 0);
  const waiting = rows.filter((row) => !row.over && row.amounts.throughputBps <= 0);
  const over = rows.filter((row) => row.over);
  const shown = new Set([...atWork, ...waiting, ...over].slice(0, room - 1));
  const hidden = rows.filter((row) => !shown.has(row));
  const done = hidden.filter((row) => row.over).length;
  return [
    ...rows.filter((row) => shown.has(row)).map(line),
    `+ ${hidden.length} more, ${done} done`,
  ];
}

function diskRow(disk: DiskProgress): ProgressRow {
  const waiting = disk.transferredBytes === 0 ? "waiting" : disk.doing;
  return {
    name: disk.diskId,
    kind: disk.syncType === "full" ? "full" : "incr",
    amounts: disk,
    over: disk.finished,
    atRest: disk.finished || disk.stopped,
    note: disk.note ?? (disk.finished ? "done" : waiting),
    total: false,
  };
}

/** Gives the width away in order of worth: name, percent, bytes and ETA always come first. */
function layoutFor(rows: readonly ProgressRow[], width: number): Layout {
  const widest = Math.max(...rows.map((row) => stringWidth(row.name)));
  const name = Math.min(nameWidthMax, widest);
  let left = width - name - 1 - percentWidth - 1 - bytesWidth;
  const take = (columns: number): number => {
    if (left < columns + 1) return 0;
    left -= columns + 1;
    return columns;
  };
  let eta = take(etaShortWidth);
  const rate = take(rateWidth);
  let bar = take(barWidthMin);
  let note = bar > 0 ? take(noteWidthMin) : 0;
  if (bar > 0 && left >= etaLongWidth - etaShortWidth) {
    left -= etaLongWidth - etaShortWidth;
    eta = etaLongWidth;
  }
  const kind = note > 0 ? take(kindWidth) : 0;
  if (bar > 0) {
    // What is over goes to the bar first, half of it to the words once the bar is readable.
    const grow = Math.min(barWidthMax - bar, note > 0 ? Math.ceil(left / 2) : left);
    bar += grow;
    left -= grow;
  }
  if (note > 0) note += left;
  return { name, kind, bar, rate, eta, note };
}

function rowLine(row: ProgressRow, layout: Layout, width: number, view: View): string {
  const { amounts } = row;
  const paint = painter(view.colour);
  const eta = row.atRest ? "" : etaText(amounts.etaSeconds, layout.eta === etaLongWidth);
  const rate = row.atRest ? "" : formatRate(amounts.throughputBps);
  const cells = [
    paint(row.total ? "bold" : "plain", fit(row.name, layout.name, view)),
    layout.kind > 0 ? paint("dim", fit(row.kind, layout.kind, view)) : undefined,
    layout.bar > 0 ? barText(amounts.percent, row.over, layout.bar, view) : undefined,
    `${Math.floor(amounts.percent)}%`.padStart(percentWidth),
    formatBytesOf(amounts.transferredBytes, amounts.totalBytes).padStart(bytesWidth),
    layout.rate > 0 ? rate.padStart(rateWidth) : undefined,
    layout.eta > 0 ? eta.padStart(layout.eta) : undefined,
    layout.note > 0 ? fit(row.note, layout.note, view) : undefined,
  ];
  const line = cells.filter((cell) => cell !== undefined).join(" ");
  // Only a terminal narrower than anyone's gets here with a line that is too long.
  return stringWidth(line) > width ? fit(stripColour(line), width, view).trimEnd() : line.trimEnd();
}

function etaText(etaSeconds: number | undefined, long: boolean): string {
  const text = etaSeconds === undefined ? "-:--" : formatDuration(etaSeconds);
  return long ? `ETA ${text}` : text;
}

function barText(percent: number, over: boolean, width: number, view: View): string {
  const filled = Math.min(width, Math.floor((percent / 100) * width));
  const paint = painter(view.colour);
  const done = (view.unicode ? "█" : "#").repeat(filled);
  const left = (view.unicode ? "░" : "-").repeat(width - filled);
  return paint(over ? "green" : "cyan", done) + paint("dim", left);
}

/** `text` cut or filled up to exactly `width` columns, control characters taken out. */
function fit(text: string, width: number, view: View): string {
  const clean = text.replace(/\p{C}+/gu, " ");
  const textWidth = stringWidth(clean);
  if (textWidth <= width) return clean + " ".repeat(width - textWidth);
  const mark = view.unicode ? "…" : ".";
  let cut = "";
  let cutWidth = 0;
  for (const { segment } of new Intl.Segmenter().segment(clean)) {
    const segmentWidth = stringWidth(segment);
    if (cutWidth + segmentWidth > width - 1) break;
    cut += segment;
    cutWidth += segmentWidth;
  }
  return cut + mark + " ".repeat(width - 1 - cutWidth);
}

const styles = { plain: "", bold: "1", dim: "2", cyan: "36", green: "32" };

function painter(colour: boolean): (style: keyof typeof styles, text: string) => string {
  return (style, text) =>
    !colour || style === "plain" || text === "" ? text : `\u001b[${styles[style]}m${text}\u001b[0m`;
}

function stripColour(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  return text.replace(/\u001b\[\d*m/g, "");
}
