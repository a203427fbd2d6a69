/** Which controller a disk is at, by its device key: the families have ranges of their own. */

import type { DiskRecord, VmRecord } from "./records.ts";
import { type VimObject, vimObject } from "./vim-values.ts";
import type { ScsiKind } from "./vm-spec.ts";

interface Family {
  /** Device key of the first disk, and of the first controller. */
  readonly firstDisk: number;
  readonly firstController: number;
  readonly unitsPerBus: number;
}

const scsi: Family = { firstDisk: 2000, firstController: 1000, unitsPerBus: 16 };
const families: readonly Family[] = [
  { firstDisk: 32_000, firstController: 31_000, unitsPerBus: 15 }, // NVMe
  { firstDisk: 16_000, firstController: 15_000, unitsPerBus: 30 }, // SATA
  { firstDisk: 3000, firstController: 200, unitsPerBus: 2 }, // IDE
  scsi,
];

const scsiTypes: Readonly<Record<ScsiKind, string>> = {
  pvscsi: "ParaVirtualSCSIController",
  lsilogic: "VirtualLsiLogicController",
  lsisas: "VirtualLsiLogicSASController",
  buslogic: "VirtualBusLogicController",
};

export function familyOf(key: number): Family {
  return families.find(({ firstDisk }) => key >= firstDisk) ?? scsi;
}

export function controllerKeyOf({ key, bus }: Pick<DiskRecord, "key" | "bus">): number {
  return familyOf(key).firstController + bus;
}

/** Two of IDE and one of SCSI, as every machine has them, and those that its disks are at. */
export function controllersOf(vm: VmRecord, disks: readonly DiskRecord[]): VimObject[] {
  const keys = new Set([200, 201, 1000, ...disks.map(controllerKeyOf)]);
  return [...keys]
    .sort((a, b) => a - b)
    .map((key) =>
      controller(
        key,
        vm,
        disks.filter((disk) => controllerKeyOf(disk) === key),
      ),
    );
}

function controller(key: number, vm: VmRecord, disks: readonly DiskRecord[]): VimObject {
  const family = families
    .toSorted((a, b) => b.firstController - a.firstController)
    .find(({ firstController }) => key >= firstController)!;
  const onPci = { controllerKey: 100, unitNumber: 3 + (key % 100) };
  const device = disks.map((disk) => disk.key);
  const named = (label: string) => ({
    key,
    deviceInfo: vimObject("Description", { label, summary: label }),
    ...(device.length > 0 && { device }),
  });
  if (key < 1000) {
    const busNumber = key - 200;
    return vimObject("VirtualIDEController", { ...named(`IDE ${busNumber}`), busNumber });
  }
  const busNumber = key - family.firstController;
  if (family.firstDisk === 32_000) {
    return vimObject("VirtualNVMEController", { ...named("NVME controller"), ...onPci, busNumber });
  }
  if (family.firstDisk === 16_000) {
    return vimObject("VirtualAHCIController", { ...named("SATA controller"), ...onPci, busNumber });
  }
  return vimObject(scsiTypes[vm.scsi ?? "pvscsi"], {
    ...named(`SCSI controller ${busNumber}`),
    ...onPci,
    busNumber,
    hotAddRemove: true,
    sharedBus: vm.sharedBuses[busNumber] ?? "noSharing",
    scsiCtlrUnitNumber: 7,
  });
}
