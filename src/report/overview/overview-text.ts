/** What is known of the VMs, for people: a row for each, and what belongs to it below. */
import { formatBytes } from "../../text.ts";
import { detailedTable, type Sheet, shown } from "../table.ts";
import type { Done, KnownVm } from "./overview.ts";

const headings = [
  "VM",
  "running now",
  "last sync",
  "delta",
  "verified",
  "rehearsed",
  "converted",
  "cut over",
] as const;

/** `nowMs` makes ages of times. Ends with a line break. */
export function overviewText(vms: readonly KnownVm[], sheet: Sheet, nowMs: number): string {
  const names = shortNames(vms);
  const age = (done: Done | undefined) => (done === undefined ? "-" : ageText(done.at, nowMs));
  const rows = vms.map((vm, at) => [
    names[at]!,
    runningText(vm),
    age(vm.last_sync),
    vm.delta_bytes === undefined ? "-" : formatBytes(vm.delta_bytes),
    age(vm.verified),
    rehearsedText(vm, nowMs),
    age(vm.converted),
    age(vm.cut_over),
  ]);
  const detailed = vms.map((vm, at) => ({
    cells: rows[at]!,
    below: [
      ...vm.disks.map((disk) => diskText(disk, sheet)),
      ...instanceLine(vm),
      ...vm.trouble.map((text) => `trouble: ${shown(text)}`),
    ],
  }));
  return detailedTable(headings, detailed, sheet, layout);
}

/** Name, what runs and the last sync always stand in the table. */
const layout = { columnsMin: 3, indent: 2 };

function instanceLine({ cut_over }: KnownVm): string[] {
  const instance = cut_over?.instance;
  return instance ? [`in CloudStack: ${instance.name} (${instance.id})`] : [];
}

/** The last part of a path, or all of it where two VMs share that part. */
function shortNames(vms: readonly KnownVm[]): string[] {
  const last = vms.map(({ vm_path }) => vm_path.slice(vm_path.lastIndexOf("/") + 1));
  return vms.map(({ vm_path, endpoint }, at) => {
    if (last.filter((name) => name === last[at]).length === 1) return last[at]!;
    const paths = vms.filter((other) => other.vm_path === vm_path);
    return paths.length === 1 ? vm_path : `${vm_path} at ${endpoint}`;
  });
}

/** "boots, 4 d ago". */
function rehearsedText({ rehearsed }: KnownVm, nowMs: number): string {
  if (rehearsed === undefined) return "-";
  return `${rehearsed.verdict.replaceAll("-", " ")}, ${ageText(rehearsed.at, nowMs)}`;
}

function runningText({ running }: KnownVm): string {
  if (running === undefined) return "-";
  const { command, stage, percent } = running;
  if (stage === undefined) return command;
  return percent === undefined ? `${command}: ${stage}` : `${command}: ${stage} ${percent} %`;
}

function diskText(disk: KnownVm["disks"][number], { unicode }: Sheet): string {
  const size = disk.capacity_bytes === undefined ? "" : ` ${formatBytes(disk.capacity_bytes)}`;
  const target = disk.target === undefined ? "no target yet" : shown(disk.target);
  return `${disk.disk_id}${size} ${unicode ? "→" : "->"} ${target}`;
}

const spans = [
  { name: "d", seconds: 86_400 },
  { name: "h", seconds: 3600 },
  { name: "min", seconds: 60 },
  { name: "s", seconds: 1 },
];

/** `5 min ago`; a clock that was set back makes no future. */
export function ageText(at: string, nowMs: number): string {
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(at)) / 1000));
  const { name, seconds: unit } = spans.find((span) => seconds >= span.seconds) ?? spans.at(-1)!;
  return `${Math.floor(seconds / unit)} ${name} ago`;
}
