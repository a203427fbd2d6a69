/** When change tracking begins, ends and starts over. */

import { randomBytes } from "node:crypto";
import type { FaultBoard } from "./fault-board.ts";
import type { LabVm } from "./lab-vm.ts";
import type { DiskRecord, VmRecord } from "./records.ts";

/** At a stun, tracking begins where it was asked for and ends where it was switched off. */
export function startTracking(vm: LabVm, faults: FaultBoard): void {
  const isWanted = vm.record.changeTrackingEnabled && vm.changeTrackingSupported;
  for (const { record } of vm.disks) {
    const stays = isWanted && isInSnapshots(record);
    if (!stays || faults.take("cbtStaysOff", { vm: vm.name, key: record.key })) {
      delete record.trackingUuid;
    } else if (record.trackingUuid === undefined) {
      record.trackingUuid = newTrackingUuid();
      record.trackedOverSnapshots = vm.snapshots.length > 0;
    }
  }
}

/** Change IDs given so far are void from now on. */
export function newHistory(disk: DiskRecord): void {
  disk.epoch += 1;
  if (disk.trackingUuid !== undefined) disk.trackingUuid = newTrackingUuid();
}

/** A new history for one disk, or for all, in the snapshots that exist too. */
export function resetTracking(vm: VmRecord, key?: number): void {
  for (const disk of vm.disks.filter((each) => key === undefined || each.key === key)) {
    newHistory(disk);
    for (const then of vm.snapshots.flatMap(({ disks }) => disks))
      if (
        then.key === disk.key &&
        then.trackingUuid !== undefined &&
        disk.trackingUuid !== undefined
      )
        then.trackingUuid = disk.trackingUuid;
  }
}

/** The history goes on where it was at a snapshot: numbers given since will be given again. */
export function historyOf(disk: DiskRecord, then: DiskRecord): void {
  disk.epoch = then.epoch + 1;
  if (then.trackingUuid === undefined) delete disk.trackingUuid;
  else disk.trackingUuid = then.trackingUuid;
}

/** Independent disks are not part of a snapshot, and are not tracked. */
export function isInSnapshots(disk: DiskRecord): boolean {
  return !disk.mode.startsWith("independent");
}

/** `52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63` */
function newTrackingUuid(): string {
  const bytes = [0x52, ...randomBytes(15)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${bytes.slice(0, 8).join(" ")}-${bytes.slice(8).join(" ")}`;
}
