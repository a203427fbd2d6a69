/** The devices of a machine: controllers, a network card, and its disks with their backings. */

import { boardDevices } from "./board-devices.ts";
import { controllerKeyOf, controllersOf } from "./controllers.ts";
import type { Inventory } from "./inventory.ts";
import { changeIdOf, type DiskRecord, hardwareOf, type VmRecord } from "./records.ts";
import { Moref, type VimObject, vimObject } from "./vim-values.ts";

/** All devices in the order of a real machine: its board first, disks last. */
export function devicesOf(
  vm: VmRecord,
  disks: readonly DiskRecord[],
  inventory: Inventory,
): VimObject[] {
  return [
    ...boardDevices,
    ...controllersOf(vm, disks),
    ...hardwareOf(vm).nics.map(({ mac, network = "VM Network" }, index) =>
      vimObject("VirtualVmxnet3", {
        key: 4000 + index,
        deviceInfo: description(`Network adapter ${index + 1}`, network),
        backing: vimObject("VirtualEthernetCardNetworkBackingInfo", {
          deviceName: network,
          network: new Moref("Network", "network-20"),
        }),
        controllerKey: 100,
        unitNumber: 7 + index,
        addressType: "assigned",
        macAddress: mac,
      }),
    ),
    ...disks.map((disk) => diskDevice(disk, vm, inventory)),
  ];
}

function diskDevice(disk: DiskRecord, vm: VmRecord, inventory: Inventory): VimObject {
  const kib = Math.floor(disk.capacityBytes / 1024);
  return vimObject("VirtualDisk", {
    key: disk.key,
    deviceInfo: description(disk.label, `${kib.toLocaleString("en-US")} KB`),
    backing: backingOf(disk, vm, inventory),
    controllerKey: controllerKeyOf(disk),
    unitNumber: disk.unit,
    capacityInKB: kib,
    capacityInBytes: disk.capacityBytes,
    diskObjectId: `${vm.moref.replace("vm-", "")}-${disk.key}`,
  });
}

function backingOf(disk: DiskRecord, vm: VmRecord, inventory: Inventory): VimObject {
  const parentFile = disk.fileName.replace(/-\d{6}\.vmdk$/, ".vmdk");
  const isDelta = parentFile !== disk.fileName;
  const common = {
    fileName: disk.fileName,
    datastore: inventory.datastoreRef(disk.datastore),
    diskMode: disk.mode,
    uuid: disk.uuid,
    contentId: disk.uuid.replaceAll("-", "").toLowerCase(),
    changeId: changeIdOf(disk),
  };
  const keyId = vm.encrypted
    ? vimObject("CryptoKeyId", {
        keyId: "lab-key",
        providerId: vimObject("KeyProviderId", { id: "lab-kms" }),
      })
    : undefined;
  switch (disk.backing) {
    case "sparse":
      return vimObject("VirtualDiskSparseVer2BackingInfo", { ...common, split: false, keyId });
    case "seSparse":
      return vimObject("VirtualDiskSeSparseBackingInfo", { ...common, keyId });
    case "rdmVirtual":
    case "rdmPhysical":
      return vimObject("VirtualDiskRawDiskMappingVer1BackingInfo", {
        ...common,
        lunUuid: "0200000000600000000000000000000000000000004c756e204c41",
        deviceName: "vml.0200000000600000000000000000000000000000004c756e204c41",
        compatibilityMode: disk.backing === "rdmPhysical" ? "physicalMode" : "virtualMode",
        sharing: disk.sharing,
      });
    case "flat":
      return vimObject("VirtualDiskFlatVer2BackingInfo", {
        ...common,
        split: false,
        writeThrough: false,
        thinProvisioned: disk.thin,
        eagerlyScrub: false,
        sharing: disk.sharing,
        keyId,
        parent: isDelta
          ? vimObject("VirtualDiskFlatVer2BackingInfo", {
              fileName: parentFile,
              datastore: inventory.datastoreRef(disk.datastore),
              diskMode: disk.mode,
              thinProvisioned: disk.thin,
              uuid: disk.uuid,
            })
          : undefined,
      });
  }
}

function description(label: string, summary: string): VimObject {
  return vimObject("Description", { label, summary });
}
