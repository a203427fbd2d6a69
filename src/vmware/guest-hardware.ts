/** What a machine is made of besides its disks: firmware, processors, memory and network cards. */
import type { GuestHardware, GuestNic } from "../guest-hardware.ts";
import { isVimFault } from "./wire/faults.ts";
import { type ObjectProperties, retrieveObject } from "./wire/retrieve-properties.ts";
import {
  integer,
  list,
  optionalBoolean,
  optionalInteger,
  optionalObject,
  optionalText,
  text,
  typeOf,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export interface VmHardware extends GuestHardware {
  /** Device key of the disk that the boot order names first; absent: the firmware takes the first one. */
  readonly bootDiskKey?: number;
}

/** All of it but the cards, for which the guest and the networks are asked too. */
export type VmBoard = Omit<VmHardware, "nics">;

/** Read together with the machine's other properties (vm-facts.ts). */
export const boardPaths = {
  devices: "config.hardware.device",
  cpus: "config.hardware.numCPU",
  memory: "config.hardware.memoryMB",
  firmware: "config.firmware",
  bootOptions: "config.bootOptions",
  guestId: "config.guestId",
} as const;

export const guestNicsPath = "guest.net";

/** Of the properties in `boardPaths`. @throws VimFault, MigratekitError `vsphere-protocol` */
export function boardOf(vm: ObjectProperties, name: string): VmBoard {
  const boot = optionalObject(vm.get(boardPaths.bootOptions), "val");
  const guestId = optionalText(vm.get(boardPaths.guestId), "val");
  const bootDiskKey = readBootDisk(boot);
  return {
    name,
    firmware: optionalText(vm.get(boardPaths.firmware), "val") === "efi" ? "uefi" : "bios",
    secureBoot: optionalBoolean(boot, "efiSecureBootEnabled") ?? false,
    cpus: integer(vm.get(boardPaths.cpus), "val"),
    memoryMiB: integer(vm.get(boardPaths.memory), "val"),
    ...(guestId ? { guestId } : {}),
    ...(bootDiskKey === undefined ? {} : { bootDiskKey }),
  };
}

function readBootDisk(boot: object | undefined): number | undefined {
  const order = list(boot, "bootOrder");
  const disk = order.find(
    (device) => typeOf(device) === "VirtualMachineBootOptionsBootableDiskDevice",
  );
  return optionalInteger(disk, "deviceKey");
}

/**
 * Of `guestNicsPath` and the devices. Names of distributed port groups are looked up where Tools do not tell
 * them.
 * @throws VimFault, EndpointError, MigratekitError `vsphere-protocol`
 */
export async function readNics(session: Session, vm: ObjectProperties): Promise<GuestNic[]> {
  const told = list(optionalObject(vm.get(guestNicsPath), "val"), "GuestNicInfo");
  const devices = list(optionalObject(vm.get(boardPaths.devices), "val"), "VirtualDevice");
  const nics: GuestNic[] = [];
  for (const device of devices) {
    const mac = optionalText(device, "macAddress")?.toLowerCase();
    if (!mac) continue;
    // A bridge or a VLAN of the guest has the MAC of its card, and addresses of its own.
    const seen = told.filter((nic) => optionalText(nic, "macAddress")?.toLowerCase() === mac);
    const network = await networkName(session, device, seen);
    const addresses = seen.flatMap(addressesOf);
    nics.push({ mac, ...(network ? { network } : {}), addresses: [...new Set(addresses)] });
  }
  return nics;
}

/** With their prefix lengths, where Tools are new enough to tell them. */
function addressesOf(nic: unknown): string[] {
  const configured = list(optionalObject(nic, "ipConfig"), "ipAddress");
  if (configured.length === 0) return list(nic, "ipAddress").map((item) => text({ item }, "item"));
  return configured.map((entry) => {
    const prefix = optionalInteger(entry, "prefixLength");
    return text(entry, "ipAddress") + (prefix === undefined ? "" : `/${prefix}`);
  });
}

async function networkName(
  session: Session,
  device: unknown,
  seen: readonly unknown[],
): Promise<string | undefined> {
  const backing = optionalObject(device, "backing");
  const name = optionalText(backing, "deviceName");
  if (name) return name;
  const told = seen.map((nic) => optionalText(nic, "network")).find(Boolean);
  const portgroup = optionalText(optionalObject(backing, "port"), "portgroupKey");
  return told ?? (portgroup ? await portgroupName(session, portgroup) : undefined);
}

/** The key of a port group is its reference too. An account may see the machine and not its networks. */
async function portgroupName(session: Session, moref: string): Promise<string | undefined> {
  const portgroup = { type: "DistributedVirtualPortgroup", moref };
  try {
    const found = await retrieveObject(session, portgroup, ["name"]);
    return found.has("name") ? optionalText(found.get("name"), "val") : undefined;
  } catch (error) {
    if (isVimFault(error, "NoPermission", "ManagedObjectNotFound")) return undefined;
    throw error;
  }
}
