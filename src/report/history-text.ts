/** Past runs of a VM, for people. */

import type { CutOver } from "../state/cut-over.ts";
import type { StoredConversion } from "../state/machine/conversions.ts";
import type { RunRecord } from "../state/run-record.ts";
import type { VmIdentity } from "../state/vm-identity.ts";
import { formatBytes, formatDuration, formatRate } from "../text.ts";
import { cutOverText } from "./cut-over.ts";
import { type Sheet, shown, sparkline, table } from "./table.ts";

const headings = [
  "start (UTC)",
  "command",
  "sync",
  "ending",
  "planned",
  "read",
  "written",
  "zeroed",
  "unchanged",
  "time",
  "rate",
  "why",
];

/** A VM with its past runs, newest first; also the JSON document. */
export interface VmHistory extends VmIdentity {
  readonly cutOver: CutOver | undefined;
  readonly conversion: StoredConversion | undefined;
  readonly runs: readonly RunRecord[];
}

/** Newest first; the sparkline reads from the oldest run to the newest. */
export function historyText({ cutOver, conversion, runs, ...vm }: VmHistory, sheet: Sheet): string {
  const done = cutOver === undefined ? "" : `, ${cutOverText(cutOver)}`;
  const title = `${shown(vm.vmPath)} at ${vm.endpoint} (${vm.instanceUuid})${done}${convertedText(conversion)}`;
  const rows = runs.map(runRow);
  return `${title}\n${table(headings, rows, sheet)}${trendText(runs, sheet)}`;
}

/** What the targets hold, where that is not what the last sync left. */
function convertedText(conversion: StoredConversion | undefined): string {
  if (conversion === undefined || conversion.phase === "keeping") return "";
  const { phase, since, runId } = conversion;
  const what = phase === "converted" ? "converted" : "a conversion did not end, begun";
  return `, ${what} at ${since} (run ${runId})`;
}

function runRow(run: RunRecord): string[] {
  const total = run.ending?.total;
  const some = run.disks.length > 0;
  const bytes = (known: number | undefined) => (known === undefined ? "" : formatBytes(known));
  return [
    run.startedAt.slice(0, 19).replace("T", " "),
    run.command,
    syncTypeText(run),
    run.errorCode ? `${run.status} [${run.errorCode}]` : run.status,
    some ? formatBytes(sum(run, "plannedBytes")) : "",
    bytes(total?.read_bytes),
    some ? formatBytes(sum(run, "copiedBytes")) : "",
    some ? formatBytes(sum(run, "zeroedBytes")) : "",
    some ? formatBytes(sum(run, "skippedBytes")) : "",
    run.durationMs === undefined ? "" : formatDuration(run.durationMs / 1000),
    total === undefined ? "" : formatRate(total.rate_bps),
    verifiedText(run) ?? run.message ?? run.disks[0]?.reason ?? "",
  ];
}

/** The evidence of `--verify`, for the ticket of a change. */
function verifiedText({ ending, message }: RunRecord): string | undefined {
  const found = (ending?.disks ?? []).flatMap(({ disk_id, verification }) =>
    verification === undefined
      ? []
      : [`${disk_id} verified: ${verification.result} ${verification.digest ?? ""}`.trim()],
  );
  return found.length === 0 ? undefined : [...found, ...(message ? [message] : [])].join("; ");
}

/** How much changed from run to run: what the next one, and the last one, will take. */
function trendText(runs: readonly RunRecord[], sheet: Sheet): string {
  const deltas = runs
    .filter((run) => run.status === "completed" && syncTypeText(run) === "incremental")
    .map((run) => sum(run, "plannedBytes"))
    .reverse();
  if (deltas.length < 2) return "";
  const label = `changed (up to ${formatBytes(Math.max(...deltas))}): `;
  const room = Math.max(10, (sheet.columns ?? 80) - label.length);
  return `${label}${sparkline(deltas.slice(-room), sheet)}\n`;
}

function sum(
  run: RunRecord,
  field: "copiedBytes" | "plannedBytes" | "zeroedBytes" | "skippedBytes",
): number {
  return run.disks.reduce((total, disk) => total + disk[field], 0);
}

function syncTypeText(run: RunRecord): string {
  if (run.disks.length === 0) return "";
  const full = run.disks.some((disk) => disk.syncType === "full");
  const resumed = run.disks.some((disk) => disk.resumed);
  return `${full ? "full" : "incremental"}${resumed ? ", resumed" : ""}`;
}
