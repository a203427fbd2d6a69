/** Virtual disks among a machine's (or a snapshot's) devices. */

import {
  integer,
  list,
  object,
  optionalBoolean,
  optionalInteger,
  optionalObject,
  optionalText,
  typeOf,
} from "./wire/values.ts";

export interface VirtualDisk {
  /** Device key; the one name of a disk that does not change. */
  readonly key: number;
  readonly label: string;
  readonly capacityBytes: number;
  readonly controllerKey: number;
  readonly unitNumber: number;
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
  const sharedBuses = readSharedBuses(devices);
  return devices
    .filter((device) => typeOf(device) === "VirtualDisk")
    .map((device) => readDisk(device, sharedBuses))
    .sort((a, b) => a.key - b.key);
}

function readDisk(device: unknown, sharedBuses: ReadonlyMap<number, string>): VirtualDisk {
  const backing = object(device, "backing");
  const key = integer(device, "key");
  const controllerKey = optionalInteger(device, "controllerKey") ?? 0;
  const fileName = optionalText(backing, "fileName") ?? "";
  const optional = {
    sharing: sharingOf(backing) ?? sharedBuses.get(controllerKey),
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

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Present<T>;
}
