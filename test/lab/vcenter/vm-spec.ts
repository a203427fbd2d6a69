/** What a caller says about a machine of the lab. Everything but name and disks has a default. */

import type { FillSpec } from "./disk-content.ts";

export interface VmSpec {
  /** As a person writes it; `/`, `\` and `%` are escaped in the inventory as vCenter does. */
  name: string;
  /** Folder below the datacenter's vm folder, for example `Folder/Nested`; absent: directly in it. */
  folder?: string;
  disks: DiskSpec[];
  powerState?: PowerState;
  /** Virtual hardware version; change tracking needs 7. Default 19. */
  hardwareVersion?: number;
  tools?: ToolsState;
  /** `config.changeTrackingEnabled` at the start. Default false. */
  changeTracking?: boolean;
  changeTrackingSupported?: boolean;
  encrypted?: boolean;
  template?: boolean;
  /** Name of the host it runs on. Default: the first one. */
  host?: string;
  instanceUuid?: string;
  biosUuid?: string;
  /** Bus number -> sharing of that SCSI controller. */
  sharedBuses?: Record<number, BusSharing>;
  /** Of its SCSI controllers. Default pvscsi. */
  scsi?: ScsiKind;
  /** Name of the vApp that it is in, which lies in `folder`. */
  vApp?: string;
  /** Absent: as its host is. */
  connectionState?: VmConnectionState;
  /** Space used on its datastores. Default: the capacity of its disks. */
  usedBytes?: number;
  /** Its disks have no images, for inventories of thousands: it can be looked at, no more. */
  paper?: boolean;
  guestShutdown?: GuestShutdown;
  hardware?: Partial<HardwareSpec>;
}

/** What the machine is made of besides disks. */
export interface HardwareSpec {
  firmware: "bios" | "efi";
  secureBoot: boolean;
  cpus: number;
  memoryMiB: number;
  guestId: string;
  guestFullName: string;
  /** Device key of the disk that the boot order names first. */
  bootDiskKey?: number;
  /** Addresses are told while Tools run. */
  nics: NicSpec[];
}

export interface NicSpec {
  mac: string;
  /** Default `VM Network`. */
  network?: string;
  /** `192.0.2.7/24`; without a prefix length, as older Tools tell them. */
  addresses?: string[];
}

export type ScsiKind = "pvscsi" | "lsilogic" | "lsisas" | "buslogic";
/** Of an `inaccessible` or `invalid` machine the configuration is not known. */
export type VmConnectionState = "disconnected" | "orphaned" | "inaccessible" | "invalid";
export type PowerState = "poweredOn" | "poweredOff" | "suspended";
export type ToolsState = "running" | "notRunning" | "notInstalled";
export type BusSharing = "noSharing" | "virtualSharing" | "physicalSharing";

/** What the guest does when Tools ask it to shut down. */
export interface GuestShutdown {
  ignores?: boolean;
  /** Time until it is off. */
  afterMs?: number;
}

export type BackingKind = "flat" | "sparse" | "seSparse" | "rdmVirtual" | "rdmPhysical";

export interface DiskSpec {
  capacityBytes: number;
  /** Device key; default 2000, 2001, … (unit 7 is the controller's own). 3000: IDE, 16000: SATA, 32000: NVMe. */
  key?: number;
  /** Raw image to start from (copied). */
  image?: string;
  fill?: FillSpec;
  /** Default `persistent`. */
  mode?: string;
  backing?: BackingKind;
  sharing?: "sharingNone" | "sharingMultiWriter";
  thin?: boolean;
  datastore?: string;
}

/** The machines of a lab whose caller names none: small, but every kind that matters. */
export function defaultVms(): VmSpec[] {
  const mebibyte = 1_048_576;
  const fill = (seed: number): FillSpec => ({ seed, dataRatio: 0.4, zeroRatio: 0.1 });
  return [
    // 64 MiB less 7 sectors: a multiple of neither 64 KiB nor 1 MiB.
    { name: "MyVM", disks: [{ capacityBytes: 64 * mebibyte - 7 * 512, fill: fill(1) }] },
    {
      name: "web01",
      folder: "Folder",
      disks: [
        { capacityBytes: 48 * mebibyte, fill: fill(2) },
        { capacityBytes: 32 * mebibyte + 512, fill: fill(3) },
      ],
    },
    {
      name: "db01",
      folder: "Folder/Databases",
      disks: [
        { capacityBytes: 32 * mebibyte, fill: fill(4) },
        { capacityBytes: 40 * mebibyte + 65_536, fill: fill(5) },
        { capacityBytes: 24 * mebibyte + 1536, fill: fill(6) },
      ],
    },
    {
      name: "cold01",
      powerState: "poweredOff",
      tools: "notRunning",
      disks: [{ capacityBytes: 16 * mebibyte, fill: fill(7) }],
    },
    {
      name: 'odd /name% <&"ü>',
      folder: "Folder",
      disks: [{ capacityBytes: 8 * mebibyte, fill: fill(8) }],
    },
    { name: "old01", hardwareVersion: 4, disks: [{ capacityBytes: 8 * mebibyte }] },
    {
      name: "independent01",
      disks: [
        { capacityBytes: 8 * mebibyte, fill: fill(9) },
        { capacityBytes: 8 * mebibyte, mode: "independent_persistent" },
      ],
    },
    {
      name: "rdm01",
      disks: [
        { capacityBytes: 8 * mebibyte, fill: fill(10) },
        { capacityBytes: 8 * mebibyte, backing: "rdmPhysical" },
      ],
    },
    { name: "notools01", tools: "notInstalled", disks: [{ capacityBytes: 8 * mebibyte }] },
  ];
}
