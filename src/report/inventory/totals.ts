import type { InventoryRow } from "../../migration/inventory/row.ts";

/** Sums over all VMs; a part of the JSON document. */
export function totalsOf(vms: readonly InventoryRow[]) {
  const sum = (value: (vm: InventoryRow) => number) =>
    vms.reduce((total, vm) => total + value(vm), 0);
  return {
    vm_count: vms.length,
    disk_count: sum(({ disks }) => disks.length),
    disk_bytes: sum(({ disk_bytes }) => disk_bytes),
    used_bytes: sum(({ used_bytes }) => used_bytes ?? 0),
    blocked_count: sum(({ blocked }) => Number(blocked)),
    /** Not blocked, and with warnings. */
    noted_count: sum(({ blocked, findings }) => Number(!blocked && findings.length > 0)),
  };
}
