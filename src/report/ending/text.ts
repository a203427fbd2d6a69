/** The closing summary for people: what was done for each disk, what is left, what to type next. */
import type { Config } from "../../config.ts";
import type { DiskEnding, Ending, Figures, NextStep, RunEnding } from "../../ending.ts";
import { redact } from "../../logger.ts";
import { counted, formatBytes, formatDuration, formatRate } from "../../text.ts";
import { type Sheet, shown, table } from "../table.ts";

/** Several lines, the last with a line break. `text`: what stands in place of the table. */
export function endingText(
  ending: Ending & { readonly earlier?: readonly RunEnding[] },
  { vmwarePath }: Pick<Config, "vmwarePath">,
  sheet: Sheet,
  text: string = tableText(ending, sheet),
): string {
  const facts = [
    ...(ending.earlier ?? []).map(earlierLine),
    ...(ending.disks ?? []).flatMap(verifiedLine),
    ...snapshotLine(ending),
    ...(ending.disks ?? []).flatMap(journalLine),
    ...ending.next.map(nextLine),
  ];
  const name = ending.vm?.path ?? vmwarePath;
  const title = `${name === undefined ? "" : `${shown(name)}: `}${whatEnded(ending)}`;
  return redact(`${title}\n${text}${facts.map((line) => `${line}\n`).join("")}`);
}

/** What to type next, and what for. */
export function nextLine({ why, command }: NextStep): string {
  return `next      ${why}${command === undefined ? "" : `: ${command}`}`;
}

/** `full sync of 1 disk completed in 0:12`, `cutover failed after 0:03`. */
export function whatEnded(ending: Ending): string {
  const { command, status, duration_ms, disks = [], sync_type } = ending;
  const sync = command === "migrate" && sync_type !== undefined;
  const what = sync ? `${sync_type} sync of ${counted(disks.length, "disk")}` : command;
  if (duration_ms === undefined) return `${what} ${status}`;
  const when = status === "completed" ? "in" : "after";
  return `${what} ${status} ${when} ${formatDuration(duration_ms / 1000)}`;
}

/** The same words for a log line: `34.0 MiB planned, 25.0 MiB read, …`. */
export function figuresText(figures: Figures): string {
  const parts = columns.map(([name, of]) => `${formatBytes(of(figures))} ${name}`);
  return [...parts, formatRate(figures.rate_bps)].join(", ");
}

const columns: readonly [name: string, of: (figures: Figures) => number][] = [
  ["planned", (figures) => figures.planned_bytes],
  ["read", (figures) => figures.read_bytes],
  ["written", (figures) => figures.written_bytes],
  ["zeroed", (figures) => figures.zeroed_bytes],
  ["unchanged", (figures) => figures.unchanged_bytes],
];

function tableText({ disks = [], total }: Ending, sheet: Sheet): string {
  if (disks.length === 0 || total === undefined) return "";
  const row = (name: string, figures: Figures, ending: string) => [
    name,
    ...columns.map(([, of]) => formatBytes(of(figures))),
    formatRate(figures.rate_bps),
    ending,
  ];
  const rows = disks.map((disk) => row(disk.disk_id, disk, diskText(disk)));
  if (disks.length > 1) rows.push(row("total", total, ""));
  return table(["disk", ...columns.map(([name]) => name), "rate", "ending"], rows, sheet);
}

function diskText({ status, resumed }: DiskEnding): string {
  return `${status.replace("_", " ")}${resumed ? ", resumed" : ""}`;
}

function earlierLine({ sync_type, total }: RunEnding): string {
  return `before    ${sync_type ?? "a"} sync: ${figuresText(total)}`;
}

function verifiedLine({ disk_id, verification }: DiskEnding): string[] {
  if (verification === undefined) return [];
  const { result, compared, compared_bytes, differing_bytes, digest, duration_ms } = verification;
  const verdict = result === "equal" ? "equal" : `${differing_bytes} bytes differ`;
  const facts = [
    `${formatBytes(compared_bytes)} compared`,
    ...(digest === undefined ? [] : [digest]),
    formatDuration(duration_ms / 1000),
  ];
  return [`verified  ${disk_id}: ${compared}: ${verdict} (${facts.join(", ")})`];
}

function snapshotLine({ snapshot, run_id }: Partial<RunEnding>): string[] {
  if (snapshot !== undefined) {
    const { state, name, moref } = snapshot;
    return [
      `snapshot  ${state}${state === "removed" ? "" : `: ${name} (${moref ?? "not known"})`}`,
    ];
  }
  return run_id === undefined ? [] : ["snapshot  none was made"];
}

function journalLine({ disk_id, journal }: DiskEnding): string[] {
  if (journal === undefined) return [];
  const done = formatBytes(journal.finished_bytes);
  return [
    `journal   ${disk_id}: ${journal.mode} copy, ${done} are on the target and not copied again`,
  ];
}
