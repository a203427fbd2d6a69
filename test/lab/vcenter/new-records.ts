/** Records for new machines, disks and snapshots, from what a caller says about them. */

import { randomUUID } from "node:crypto";
import { familyOf } from "./controllers.ts";
import type { DiskRecord, SnapshotRecord, VmRecord } from "./records.ts";
import { isInSnapshots } from "./tracking.ts";
import type { DiskSpec, VmSpec } from "./vm-spec.ts";

/** Unit 7 of a SCSI bus is its controller. */
const controllerUnit = 7;

export function newVmRecord(
  spec: VmSpec,
  assigned: { moref: string; directory: string; host: string },
): VmRecord {
  return {
    moref: assigned.moref,
    name: spec.name,
    folder: spec.folder ?? "",
    directory: assigned.directory,
    powerState: spec.powerState ?? "poweredOn",
    hardwareVersion: spec.hardwareVersion ?? 19,
    tools: spec.tools ?? (spec.powerState === "poweredOff" ? "notRunning" : "running"),
    changeTrackingEnabled: spec.changeTracking ?? false,
    changeTrackingSupported: spec.changeTrackingSupported ?? (spec.hardwareVersion ?? 19) >= 7,
    encrypted: spec.encrypted ?? false,
    template: spec.template ?? false,
    consolidationNeeded: false,
    host: assigned.host,
    instanceUuid: spec.instanceUuid ?? randomUUID(),
    biosUuid: spec.biosUuid ?? randomUUID(),
    sharedBuses: spec.sharedBuses ?? {},
    guestShutdown: spec.guestShutdown ?? {},
    hardware: spec.hardware ?? {},
    ...(spec.scsi && { scsi: spec.scsi }),
    ...(spec.vApp && { vApp: spec.vApp }),
    ...(spec.connectionState && { connectionState: spec.connectionState }),
    ...(spec.usedBytes !== undefined && { usedBytes: spec.usedBytes }),
    ...(spec.paper && { paper: true }),
    disks: [],
    snapshots: [],
  };
}

export function newSnapshotRecord(
  vm: VmRecord,
  moref: string,
  about: { name: string; description: string; quiesced: boolean },
): SnapshotRecord {
  return {
    moref,
    id: 1 + Math.max(0, ...vm.snapshots.map(({ id }) => id)),
    name: about.name,
    description: about.description,
    createTime: new Date().toISOString(),
    powerState: vm.powerState,
    quiesced: about.quiesced,
    changeTrackingEnabled: vm.changeTrackingEnabled,
    disks: vm.disks.map((disk) => ({ ...disk, frozen: isInSnapshots(disk) })),
    ...(vm.currentSnapshot && { parent: vm.currentSnapshot }),
  };
}

export function newDiskRecord(vm: VmRecord, spec: DiskSpec): DiskRecord {
  if (!(spec.capacityBytes > 0) || spec.capacityBytes % 512 !== 0) {
    throw new RangeError(`A disk of ${spec.capacityBytes} bytes is not made of sectors`);
  }
  const key = spec.key ?? freeKey(vm);
  const number = vm.disks.length + 1;
  const datastore = spec.datastore ?? "datastore1";
  const directory = vm.name.replaceAll(/[/\\%\p{Cc}]/gu, "_");
  const suffix = number === 1 ? "" : `_${number - 1}`;
  const uuid = randomUUID().replaceAll("-", "");
  const record: DiskRecord = {
    key,
    label: `Hard disk ${number}`,
    capacityBytes: spec.capacityBytes,
    bus: 0,
    unit: 0,
    mode: spec.mode ?? "persistent",
    backing: spec.backing ?? "flat",
    sharing: spec.sharing ?? "sharingNone",
    thin: spec.thin ?? true,
    datastore,
    uuid: `6000C29${uuid[0]}-${uuid.slice(1, 5)}-${uuid.slice(5, 9)}-${uuid.slice(9, 13)}-${uuid.slice(13, 25)}`,
    fileName: `[${datastore}] ${directory}/${directory}${suffix}.vmdk`,
    nextDelta: 1,
    epoch: 1,
  };
  placeDisk(record, key);
  return record;
}

/** Puts a disk at the bus and unit that belong to a device key. */
export function placeDisk(disk: DiskRecord, key: number): void {
  disk.key = key;
  const { firstDisk, unitsPerBus } = familyOf(key);
  disk.bus = Math.floor((key - firstDisk) / unitsPerBus);
  disk.unit = (key - firstDisk) % unitsPerBus;
}

function freeKey(vm: VmRecord): number {
  const taken = new Set(vm.disks.map((disk) => disk.key));
  const { firstDisk, unitsPerBus } = familyOf(2000);
  for (let key = firstDisk; ; key += 1) {
    if (!taken.has(key) && (key - firstDisk) % unitsPerBus !== controllerUnit) return key;
  }
}
