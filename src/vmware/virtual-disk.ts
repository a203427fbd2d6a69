/** Virtual disks among a machine's (or a snapshot's) devices. */

import {
  integer,
  list,
  object,
  optionalBoolean,
  optionalInteger,
  optionalObject,
  optionalText,
  present,
  typeOf,
} from "./wire/values.ts";

export interface Controller {
  readonly kind:
    | ("pvscsi" | "lsilogic" | "lsisas" | "buslogic")
    | ("ide" | "sata" | "nvme" | "other");
  /** Among those of its family. */
  readonly bus: number;
}

export interface VirtualDisk {
  /** Device key; the one name of a disk that does not change. */
  readonly key: number;
  readonly label: string;
  readonly capacityBytes: number;
  readonly controllerKey: number;
  readonly unitNumber: number;
  /** Absent where no device has its key. */
  readonly controller?: Controller;
  /** `[datastore] directory/disk.vmdk` */
  readonly fileName: string;
  readonly backing: "flat" | "sparse" | "seSparse" | "rdmVirtual" | "rdmPhysical" | "other";
  /** `persistent`, `independent_persistent`, `independent_nonpersistent` … */
  readonly diskMode: string;
  /** Set when another machine may write it: `multiWriter`, `physicalBus` or `virtualBus`. */
  readonly sharing?: string;
  readonly thin?: boolean;
  /** Present when this disk's changes are tracked: 16 hexadecimal bytes, a slash, a number. */
  readonly changeId?: string;
  readonly uuid?: string;
  /** Name of the datastore. */
  readonly datastore?: string;
  readonly encrypted?: boolean;
}

/** The disks of a `config.hardware.device` property, by device key. */
export function readVirtualDisks(property: unknown): VirtualDisk[] {
  const devices = list(optionalObject(property, "val"), "VirtualDevice");
  const buses = { shared: readSharedBuses(devices), controllers: readControllers(devices) };
  return devices
    .filter((device) => typeOf(device) === "VirtualDisk")
    .map((device) => readDisk(device, buses))
    .sort((a, b) => a.key - b.key);
}

/** By the keys of their controllers. */
interface Buses {
  readonly shared: ReadonlyMap<number, string>;
  readonly controllers: ReadonlyMap<number, Controller>;
}

function readDisk(device: unknown, { shared, controllers }: Buses): VirtualDisk {
  const backing = object(device, "backing");
  const key = integer(device, "key");
  const controllerKey = optionalInteger(device, "controllerKey") ?? 0;
  const fileName = optionalText(backing, "fileName") ?? "";
  const optional = {
    sharing: sharingOf(backing) ?? shared.get(controllerKey),
    controller: controllers.get(controllerKey),
    thin: optionalBoolean(backing, "thinProvisioned"),
    changeId: optionalText(backing, "changeId") || undefined,
    uuid: optionalText(backing, "uuid"),
    datastore: /^\[([^\]]+)\]/.exec(fileName)?.[1],
    encrypted: optionalObject(backing, "keyId") ? true : undefined,
  };
  return {
    key,
    label: optionalText(optionalObject(device, "deviceInfo"), "label") ?? `disk ${key}`,
    // The field in KiB is the only one before API 5.5, and rounded down where both are there.
    capacityBytes:
      optionalInteger(device, "capacityInBytes") ?? integer(device, "capacityInKB") * 1024,
    controllerKey,
    unitNumber: optionalInteger(device, "unitNumber") ?? 0,
    fileName,
    backing: backingKind(backing),
    diskMode: optionalText(backing, "diskMode") ?? "persistent",
    ...present(optional),
  };
}

function backingKind(backing: object): VirtualDisk["backing"] {
  switch (typeOf(backing)) {
    case "VirtualDiskFlatVer1BackingInfo":
    case "VirtualDiskFlatVer2BackingInfo":
      return "flat";
    case "VirtualDiskSparseVer1BackingInfo":
    case "VirtualDiskSparseVer2BackingInfo":
      return "sparse";
    case "VirtualDiskSeSparseBackingInfo":
      return "seSparse";
    case "VirtualDiskRawDiskMappingVer1BackingInfo":
      return optionalText(backing, "compatibilityMode") === "physicalMode"
        ? "rdmPhysical"
        : "rdmVirtual";
    default:
      return "other";
  }
}

function sharingOf(backing: object): string | undefined {
  return optionalText(backing, "sharing") === "sharingMultiWriter" ? "multiWriter" : undefined;
}

/** SCSI controllers whose bus other machines share, by their key. */
function readSharedBuses(devices: readonly unknown[]): Map<number, string> {
  const shared = new Map<number, string>();
  for (const device of devices) {
    const sharing = optionalText(device, "sharedBus");
    if (sharing === "physicalSharing") shared.set(integer(device, "key"), "physicalBus");
    if (sharing === "virtualSharing") shared.set(integer(device, "key"), "virtualBus");
  }
  return shared;
}

const controllerKinds: Readonly<Record<string, Controller["kind"]>> = {
  ParaVirtualSCSIController: "pvscsi",
  VirtualLsiLogicController: "lsilogic",
  VirtualLsiLogicSASController: "lsisas",
  VirtualBusLogicController: "buslogic",
  VirtualIDEController: "ide",
  VirtualSATAController: "sata",
  VirtualAHCIController: "sata",
  VirtualNVMEController: "nvme",
};

function readControllers(devices: readonly unknown[]): Map<number, Controller> {
  const found = new Map<number, Controller>();
  for (const device of devices) {
    const bus = optionalInteger(device, "busNumber");
    if (bus === undefined) continue;
    found.set(integer(device, "key"), {
      kind: controllerKinds[typeOf(device) ?? ""] ?? "other",
      bus,
    });
  }
  return found;
}
