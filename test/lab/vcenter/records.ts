/** What the simulator knows about its machines, as plain data: this is what survives a restart. */

import type {
  BackingKind,
  BusSharing,
  GuestShutdown,
  HardwareSpec,
  PowerState,
  ScsiKind,
  ToolsState,
  VmConnectionState,
} from "./vm-spec.ts";

export interface DiskRecord {
  key: number;
  label: string;
  capacityBytes: number;
  bus: number;
  unit: number;
  mode: string;
  backing: BackingKind;
  sharing: string;
  thin: boolean;
  /** Name of the datastore. */
  datastore: string;
  /** Backing's UUID, "6000C29…". */
  uuid: string;
  /** File that the machine has open now: a delta while snapshots exist. `[datastore] dir/name.vmdk`. */
  fileName: string;
  /** Number of the next delta file. */
  nextDelta: number;
  /** UUID of the change-tracking history; absent until tracking took effect. */
  trackingUuid?: string;
  /** Tracking took effect while the machine had snapshots, which VMware does not support. */
  trackedOverSnapshots?: boolean;
  /** Epoch in which guest writes are noted; grows at every snapshot, over all histories. */
  epoch: number;
}

/** A disk as it was at the snapshot; `fileName` follows consolidation. */
export interface SnapshotDiskRecord extends DiskRecord {
  /** False for an independent disk, which snapshots leave out. */
  frozen: boolean;
}

export interface SnapshotRecord {
  moref: string;
  id: number;
  name: string;
  description: string;
  /** ISO 8601. */
  createTime: string;
  powerState: PowerState;
  quiesced: boolean;
  changeTrackingEnabled: boolean;
  /** Moref of the parent snapshot. */
  parent?: string;
  disks: SnapshotDiskRecord[];
}

export interface VmRecord {
  moref: string;
  /** As the caller wrote it; the inventory's name has `%`, `/` and `\` escaped. */
  name: string;
  folder: string;
  /** Directory under labDir/disks. */
  directory: string;
  powerState: PowerState;
  hardwareVersion: number;
  tools: ToolsState;
  changeTrackingEnabled: boolean;
  changeTrackingSupported: boolean;
  encrypted: boolean;
  template?: boolean;
  consolidationNeeded: boolean;
  /** Name of the host. */
  host: string;
  instanceUuid: string;
  biosUuid: string;
  sharedBuses: Record<number, BusSharing>;
  scsi?: ScsiKind;
  vApp?: string;
  connectionState?: VmConnectionState;
  usedBytes?: number;
  paper?: boolean;
  guestShutdown: GuestShutdown;
  /** Absent fields, and all in states of older labs, have defaults (`hardwareOf`). */
  hardware?: Partial<HardwareSpec>;
  disks: DiskRecord[];
  snapshots: SnapshotRecord[];
  /** Moref of the snapshot that the machine runs on. */
  currentSnapshot?: string;
}

/** Two processors, 2 GiB, BIOS, and one network card whose MAC is the machine's own. */
export function hardwareOf(vm: VmRecord): HardwareSpec {
  const number = Number(/\d+$/.exec(vm.moref)?.[0] ?? 1);
  const low = (number % 65_536).toString(16).padStart(4, "0");
  return {
    firmware: "bios",
    secureBoot: false,
    cpus: 2,
    memoryMiB: 2048,
    guestId: "debian11_64Guest",
    guestFullName: "Debian GNU/Linux 11 (64-bit)",
    nics: [{ mac: `00:50:56:00:${low.slice(0, 2)}:${low.slice(2)}` }],
    ...vm.hardware,
  };
}

/** A change ID as VMware prints it: 16 hex bytes with one dash in the middle, `/`, a sequence number. */
export function changeIdOf(disk: Pick<DiskRecord, "trackingUuid" | "epoch">): string | undefined {
  return disk.trackingUuid === undefined ? undefined : `${disk.trackingUuid}/${disk.epoch}`;
}

export function inventoryName(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2f").replaceAll("\\", "%5c");
}
