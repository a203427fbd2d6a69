/** The VMs of an inventory, for people: a row for each below the name of its folder, and what was found. */
import type { Finding } from "../../migration/check/finding.ts";
import type { Inventory } from "../../migration/inventory/inventory.ts";
import type { InventoryRow } from "../../migration/inventory/row.ts";
import { counted, formatBytes } from "../../text.ts";
import { breaksTo, type DetailedRow, detailedTable, type Sheet, shown } from "../table.ts";
import { totalsOf } from "./totals.ts";

const headings = [
  "VM",
  "power",
  "disks",
  "used",
  "CPUs",
  "memory",
  "tracking",
  "snapshots",
  "guest",
] as const;
/** Name, power and disks always stand in the table; the rest below the name, which is below its folder. */
const layout = { columnsMin: 3, indent: 4 };

/** Ends with a line break. */
export function inventoryText(inventory: Inventory, sheet: Sheet): string {
  const { endpoint, product, below, findings, vms } = inventory;
  const lines = (texts: readonly string[]) =>
    texts.map((text) => `${breaksTo(sheet)(text)}\n`).join("");
  const title = `${endpoint} (${product})${below === undefined ? "" : `, below ${below}`}`;
  const head = lines([shown(title), ...findings.flatMap(findingLines)]);
  if (vms.length === 0) return head + lines(["no VM that this account sees"]);
  const rows = vms.map((vm, at) => rowOf(vm, vms[at - 1]));
  return head + detailedTable(headings, rows, sheet, layout) + lines(closingLines(vms));
}

function rowOf(vm: InventoryRow, before: InventoryRow | undefined): DetailedRow {
  const folder = folderOf(vm);
  const isFirst = before === undefined || folderOf(before) !== folder;
  return {
    above: isFirst ? shown(folder) : undefined,
    cells: [
      `  ${vm.vm_path.slice(folder.length + 1)}`,
      powerText(vm),
      vm.disks.length === 0 ? "-" : `${vm.disks.length}: ${formatBytes(vm.disk_bytes)}`,
      vm.used_bytes === undefined ? "-" : formatBytes(vm.used_bytes),
      `${vm.cpus ?? "-"}`,
      vm.memory_bytes === undefined ? "-" : formatBytes(vm.memory_bytes),
      vm.tracking ?? "-",
      vm.snapshots?.length ? `${vm.snapshots.length}` : "-",
      vm.guest_name ?? vm.guest_id ?? "-",
    ],
    below: vm.findings.flatMap(findingLines),
  };
}

function folderOf({ vm_path }: InventoryRow): string {
  return vm_path.slice(0, vm_path.lastIndexOf("/"));
}

const powerTexts: Readonly<Record<string, string>> = {
  poweredOn: "on",
  poweredOff: "off",
};

function powerText({ power_state, connection_state, template }: InventoryRow): string {
  if (template) return "template";
  if (connection_state !== undefined && connection_state !== "connected") return connection_state;
  return powerTexts[power_state ?? ""] ?? power_state ?? "-";
}

/** With the remedy of what blocks a VM; that of a note is in the documents. */
function findingLines({ level, message, remedy, code }: Finding): string[] {
  const text = shown(message.replaceAll(/\s+/g, " "));
  if (level !== "problem") return [`note: ${text}`];
  return [`blocked: ${text} [${code}]`, ...(remedy === undefined ? [] : [`  fix: ${remedy}`])];
}

function closingLines(vms: readonly InventoryRow[]): string[] {
  const { vm_count, disk_count, disk_bytes, used_bytes, blocked_count, noted_count } =
    totalsOf(vms);
  const size = `${counted(disk_count, "disk")} of ${formatBytes(disk_bytes)}, ${formatBytes(used_bytes)} used`;
  const blocked = `${blocked_count === 0 ? "none" : blocked_count} blocked`;
  const noted = noted_count === 0 ? "" : `, ${noted_count} with something to know before`;
  return [`${counted(vm_count, "VM")} with ${size}`, `${blocked}${noted}`];
}
