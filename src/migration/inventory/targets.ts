/** `--plan-target`: which target each disk of a plan gets. */
import { MigratekitError } from "../../errors.ts";
import { parseTargets } from "../../nbd/target/target.ts";
import { targetIdentity } from "../../nbd/target/uri.ts";
import { unescapeName } from "../../vmware/inventory/places.ts";
import { keyOf } from "../vm/disks.ts";
import type { InventoryRow } from "./row.ts";

/** Disk ID to NBD URI. */
export type PlannedTargets = ReadonlyMap<string, string>;

/**
 * The targets of each VM, in the order of `vms`.
 * @throws MigratekitError `usage` where the pattern makes no NBD URI, or one target for two disks
 */
export function planTargets(vms: readonly InventoryRow[], pattern: string): PlannedTargets[] {
  const owners = new Map<string, string>();
  return vms.map((vm) => {
    const targets = new Map<string, string>();
    for (const [index, { disk_id }] of vm.disks.entries()) {
      const key = keyOf(disk_id);
      const uri = checkedUri(pattern, key, expand(pattern, vm, key, index));
      const owner = `${disk_id} of ${vm.vm_path}`;
      const other = owners.get(targetIdentity(uri));
      if (other !== undefined) throw shared(pattern, uri, other, owner);
      owners.set(targetIdentity(uri), owner);
      targets.set(disk_id, uri);
    }
    return targets;
  });
}

/** Names are whatever people called their machines: each character that means something in a URI is escaped. */
function expand(pattern: string, vm: InventoryRow, key: number, index: number): string {
  const values: Readonly<Record<string, string>> = {
    vm: encodeURIComponent(unescapeName(vm.name)),
    key: `${key}`,
    index: `${index}`,
    moref: vm.moref,
    uuid: vm.instance_uuid ?? "",
  };
  return pattern.replaceAll(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

function checkedUri(pattern: string, key: number, uri: string): string {
  try {
    return parseTargets(`${key}:${uri}`).get(key)!;
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    const reason = error.message.replace(/^--nbd-targets, entry 1 \([^)]*\): /, "");
    throw new MigratekitError("usage", `--plan-target ${pattern} makes no target: ${reason}`, {
      remedy: "Give an NBD URI, such as nbd://host:10809/{vm}-disk-{key}.",
      cause: error,
    });
  }
}

function shared(pattern: string, uri: string, one: string, other: string): MigratekitError {
  return new MigratekitError(
    "usage",
    `--plan-target ${pattern} makes one target, ${uri}, for ${one} and for ${other}`,
    { remedy: "Add {moref} or {uuid} to the pattern, which no two VMs share." },
  );
}
