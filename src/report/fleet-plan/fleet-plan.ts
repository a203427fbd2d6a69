/** What a plan would come to, for people: trouble, a row for each wave, what was assumed. */
import { counted, formatBytes, formatRate } from "../../text.ts";
import { breaksTo, detailedTable, type Sheet, shown } from "../table.ts";
import type { PlanDocument } from "./document.ts";

const headings = ["wave", "VMs", "first copy", "in sync", "cutovers", "bound by"] as const;
/** Name, VMs and when they are in sync always stand in the table. */
const layout = { columnsMin: 4, indent: 4 };

/** Ends with a line break. Times are UTC. */
export function fleetPlanText(document: PlanDocument, sheet: Sheet): string {
  const { file, vm_count, first_bytes, waves, trouble, assumed, limits } = document;
  const { start_at, workers, parallel_vms, link_bps, measured } = document;
  const runs = `${counted(workers, "worker")} with ${counted(parallel_vms, "run")} at a time`;
  const link = link_bps === undefined ? "" : `, ${formatRate(link_bps)} to the targets`;
  const count = `${counted(vm_count, "VM")} in ${counted(waves.length, "wave")}`;
  const rows = waves.map((wave) => ({
    cells: [
      wave.name,
      `${wave.vm_count}`,
      formatBytes(wave.first_bytes),
      wave.in_sync_at === undefined ? "never" : minuteText(wave.in_sync_at),
      cutoversText(wave),
      wave.bound ?? "-",
    ],
    below: [],
    above: undefined,
  }));
  const notes = [
    ...(measured ?? []).map(
      ({ vm_count: vms, message }) => `measured of ${counted(vms, "VM")}: ${message}`,
    ),
    ...assumed.map(({ vm_count: vms, message }) => `assumed of ${counted(vms, "VM")}: ${message}`),
    ...(limits.target_drop_ms === undefined
      ? ["note: no target-drop-time: what a dead worker held waits for an operator's word"]
      : []),
  ];
  return [
    lines([
      `${file}: ${count}, ${formatBytes(first_bytes)} to be copied first`,
      `from ${minuteText(start_at)} UTC, ${runs}${link}`,
      ...trouble.map(({ message }) => `trouble: ${message}`),
    ]),
    "\n",
    detailedTable(headings, rows, sheet, layout),
    "\n",
    lines(notes),
  ].join("");

  function lines(texts: readonly string[]): string {
    return texts.map((text) => `${breaksTo(sheet)(shown(text))}\n`).join("");
  }
}

function cutoversText(wave: PlanDocument["waves"][number]): string {
  const { cutover_count, cutover_fit_count, cutovers_begin_at: from, cutovers_end_at: to } = wave;
  if (cutover_count === 0) return "done";
  if (from === undefined || to === undefined) return "never";
  const fit =
    cutover_fit_count === cutover_count
      ? "all fit"
      : `${cutover_fit_count} of ${cutover_count} fit`;
  return `${fit}, ${minuteText(from)} to ${minuteText(to)}`;
}

/** `2026-12-01 04:10` */
function minuteText(iso: string): string {
  return iso.slice(0, 16).replace("T", " ");
}
