/** An inventory as CSV (RFC 4180): a line of headings, a line for each VM. */
import { withoutControls } from "../../logger.ts";
import type { Finding } from "../../migration/check/finding.ts";
import {
  busAddress,
  type InventoryDisk,
  type InventoryRow,
} from "../../migration/inventory/row.ts";

type Cell = string | number | boolean | undefined;

const columns: Readonly<Record<string, (vm: InventoryRow) => Cell>> = {
  vm_path: (vm) => vm.vm_path,
  name: (vm) => vm.name,
  moref: (vm) => vm.moref,
  instance_uuid: (vm) => vm.instance_uuid,
  power_state: (vm) => vm.power_state,
  connection_state: (vm) => vm.connection_state,
  template: (vm) => vm.template,
  guest_id: (vm) => vm.guest_id,
  guest_name: (vm) => vm.guest_name,
  firmware: (vm) => vm.firmware,
  secure_boot: (vm) => vm.secure_boot,
  cpus: (vm) => vm.cpus,
  memory_bytes: (vm) => vm.memory_bytes,
  hardware_version: (vm) => vm.hardware_version,
  tools_running: (vm) => vm.tools_running,
  encrypted: (vm) => vm.encrypted,
  host: (vm) => vm.host,
  host_version: (vm) => vm.host_version,
  datastores: (vm) => vm.datastores.join("; "),
  disk_count: (vm) => vm.disks.length,
  disk_bytes: (vm) => vm.disk_bytes,
  used_bytes: (vm) => vm.used_bytes,
  disks: (vm) => vm.disks.map(diskText).join("; "),
  tracking: (vm) => vm.tracking,
  snapshot_count: (vm) => vm.snapshots?.length,
  blocked: (vm) => vm.blocked,
  problems: (vm) => messages(vm, "problem"),
  warnings: (vm) => messages(vm, "warning"),
};

/** The lines, each with its end. */
export function* csvLines(vms: readonly InventoryRow[]): Generator<string> {
  yield line(Object.keys(columns));
  for (const vm of vms) yield line(Object.values(columns).map((cell) => cell(vm)));
}

function line(cells: readonly Cell[]): string {
  return `${cells.map(cellText).join(",")}\r\n`;
}

/**
 * A spreadsheet takes what begins with one of these for a formula and would run it: names of VMs and snapshots
 * are anybody's. The apostrophe in front makes it text again. The last four are the same characters in full width.
 */
const formula = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

function cellText(cell: Cell): string {
  if (typeof cell !== "string") return `${cell ?? ""}`;
  const text = withoutControls(formula.test(cell) ? `'${cell}` : cell);
  return /[",\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** `disk-2000 42949672960 pvscsi 0:0 flat persistent` */
function diskText(disk: InventoryDisk): string {
  const { disk_id, capacity_bytes, backing, mode } = disk;
  return `${disk_id} ${capacity_bytes} ${busAddress(disk) ?? "-"} ${backing} ${mode}`;
}

function messages({ findings }: InventoryRow, level: Finding["level"]): string {
  return findings
    .filter((finding) => finding.level === level)
    .map(({ message }) => message)
    .join("; ");
}
