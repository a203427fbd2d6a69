// Tables for the demonstration.

import { styleText } from "node:util";

const mebibyte = 1_048_576;

/** What `migratekit migrate --json` says of a disk (contract: names of the summary). */
export interface SummaryDisk {
  disk_id: string;
  sync_type: string;
  capacity_bytes: number;
  planned_bytes: number;
  copied_bytes: number;
  zeroed_bytes: number;
  duration_ms: number;
}

export interface DemoRow {
  run: string;
  disk: SummaryDisk;
  identical: boolean;
}

function size(bytes: number): string {
  return bytes >= 1024 * mebibyte
    ? `${(bytes / 1024 / mebibyte).toFixed(2)} GiB`
    : `${(bytes / mebibyte).toFixed(1)} MiB`;
}

export function good(text: string): string {
  return styleText("green", text);
}

export function bad(text: string): string {
  return styleText(["red", "bold"], text);
}

export function title(text: string): string {
  return `\n${styleText("bold", text)}`;
}

export function dim(text: string): string {
  return styleText("dim", text);
}

/** What a line of the log says: in a pipe it is JSON, and a reader of the demonstration wants words. */
export function logText(line: string): string {
  if (!line.startsWith("{")) return line;
  const { level, msg } = JSON.parse(line) as { level: number; msg: string };
  return level >= 40 ? `${level >= 50 ? "error" : "warning"}: ${msg}` : msg;
}

/** Columns as wide as their widest cell; all but the first one to the right. */
export function table(headings: string[], rows: string[][]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (cells: string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join("  ");
  const rule = widths.map((width) => "─".repeat(width)).join("──");
  return [dim(line(headings)), dim(rule), ...rows.map(line)].join("\n");
}

export function closingTable(rows: DemoRow[]): string {
  const headings = ["disk", "sync type", "capacity", "planned", "written", "zeroed", "time", "cmp"];
  const cells = rows.map(({ disk, identical }) => [
    disk.disk_id,
    disk.sync_type,
    size(disk.capacity_bytes),
    size(disk.planned_bytes),
    size(disk.copied_bytes),
    size(disk.zeroed_bytes),
    `${(disk.duration_ms / 1000).toFixed(1)} s`,
    identical ? "identical" : "DIFFERS",
  ]);
  const note = "planned: allocated bytes in a full sync, changed ones in an incremental one";
  return `${table(headings, cells)}\n${dim(note)}`;
}
