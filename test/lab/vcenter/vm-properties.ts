/** Properties of machines and snapshots, rendered from their records. */

import { devicesOf } from "./devices.ts";
import type { Inventory } from "./inventory.ts";
import type { LabVm } from "./lab-vm.ts";
import {
  type DiskRecord,
  hardwareOf,
  inventoryName,
  type SnapshotRecord,
  type VmRecord,
} from "./records.ts";
import { Moref, type VimObject, type VimValue, vimObject } from "./vim-values.ts";
import type { HardwareSpec, NicSpec } from "./vm-spec.ts";

export function vmProperty(vm: LabVm, inventory: Inventory, name: string): VimValue | undefined {
  const { record } = vm;
  switch (name) {
    case "config":
      if (isUnknown(record)) return undefined;
      return config(record, record.disks, record.changeTrackingEnabled, inventory);
    case "runtime":
      return runtime(record, inventory);
    case "capability":
      return capability(record, vm.changeTrackingSupported);
    case "guest":
      return guest(record);
    case "guestHeartbeatStatus":
      return record.tools === "running" ? "green" : "gray";
    case "snapshot":
      return snapshotInfo(record);
    case "rootSnapshot":
      return roots(record).map((snapshot) => snapshotRef(snapshot.moref));
    case "summary":
      return summary(record, inventory);
    case "resourcePool":
      return inventory.names.resourcePool;
    case "parentVApp":
      return inventory.vAppOf(record);
    case "datastore":
      return [...new Set(record.disks.map((disk) => disk.datastore))].map((store) =>
        inventory.datastoreRef(store),
      );
    case "network":
      return [new Moref("Network", "network-20")];
    case "recentTask":
      return vm.recentTasks.map((task) => new Moref("Task", task));
    default:
      return undefined;
  }
}

/** Its configuration file cannot be read. */
function isUnknown({ connectionState }: VmRecord): boolean {
  return connectionState === "inaccessible" || connectionState === "invalid";
}

export function snapshotProperty(
  vm: LabVm,
  snapshot: SnapshotRecord,
  inventory: Inventory,
  name: string,
): VimValue | undefined {
  switch (name) {
    case "config":
      return config(vm.record, snapshot.disks, snapshot.changeTrackingEnabled, inventory);
    case "vm":
      return new Moref("VirtualMachine", vm.moref);
    case "childSnapshot":
      return childrenOf(vm.record, snapshot).map((child) => snapshotRef(child.moref));
    default:
      return undefined;
  }
}

function config(
  vm: VmRecord,
  disks: readonly DiskRecord[],
  changeTrackingEnabled: boolean,
  inventory: Inventory,
): VimObject {
  const { guestId, guestFullName, ...hardware } = hardwareOf(vm);
  const store = disks[0]?.datastore ?? "datastore1";
  const directory = vm.name.replaceAll(/[/\\%]/g, "_");
  const vmPathName = `[${store}] ${directory}/${directory}.vmx`;
  return vimObject("VirtualMachineConfigInfo", {
    changeVersion: "2025-01-01T00:00:00.000000Z",
    modified: new Date(0),
    name: inventoryName(vm.name),
    guestFullName,
    version: `vmx-${String(vm.hardwareVersion).padStart(2, "0")}`,
    uuid: vm.biosUuid,
    instanceUuid: vm.instanceUuid,
    template: vm.template ?? false,
    guestId,
    alternateGuestName: "",
    annotation: "",
    files: vimObject("VirtualMachineFileInfo", { vmPathName, snapshotDirectory: vmPathName }),
    tools: vimObject("ToolsConfigInfo", { toolsVersion: vm.tools === "notInstalled" ? 0 : 12352 }),
    flags: vimObject("VirtualMachineFlagInfo", { diskUuidEnabled: false }),
    hardware: vimObject("VirtualHardware", {
      numCPU: hardware.cpus,
      numCoresPerSocket: 1,
      memoryMB: hardware.memoryMiB,
      device: devicesOf(vm, disks, inventory),
    }),
    changeTrackingEnabled,
    bootOptions: bootOptions(hardware),
    firmware: hardware.firmware,
    keyId: vm.encrypted ? vimObject("CryptoKeyId", { keyId: "lab-key" }) : undefined,
  });
}

type BootSpec = Pick<HardwareSpec, "secureBoot" | "bootDiskKey">;

function bootOptions({ secureBoot, bootDiskKey }: BootSpec): VimObject {
  const disk = (deviceKey: number) =>
    vimObject("VirtualMachineBootOptionsBootableDiskDevice", { deviceKey });
  return vimObject("VirtualMachineBootOptions", {
    bootDelay: 0,
    enterBIOSSetup: false,
    efiSecureBootEnabled: secureBoot,
    bootOrder: bootDiskKey === undefined ? undefined : [disk(bootDiskKey)],
  });
}

function runtime(vm: VmRecord, inventory: Inventory): VimObject {
  return vimObject("VirtualMachineRuntimeInfo", {
    host: inventory.hostRef(vm.host),
    connectionState:
      vm.connectionState ?? (inventory.isConnected(vm) ? "connected" : "disconnected"),
    powerState: vm.powerState,
    toolsInstallerMounted: false,
    numMksConnections: 0,
    consolidationNeeded: vm.consolidationNeeded,
    ...(vm.encrypted && { cryptoState: "unlocked" }),
  });
}

function capability(vm: VmRecord, changeTrackingSupported: boolean): VimObject {
  const supported = Object.fromEntries(
    [
      "snapshotOperationsSupported multipleSnapshotsSupported snapshotConfigSupported",
      "poweredOffSnapshotsSupported memorySnapshotsSupported revertToSnapshotSupported",
      "disableSnapshotsSupported toolsAutoUpdateSupported virtualMmuUsageSupported",
      "diskSharesSupported bootOptionsSupported toolsSyncTimeSupported swapPlacementSupported",
    ]
      .flatMap((names) => names.split(" "))
      .map((name) => [name, true]),
  );
  return vimObject("VirtualMachineCapability", {
    ...supported,
    quiescedSnapshotsSupported: vm.tools === "running",
    lockSnapshotsSupported: false,
    consolePreferencesSupported: false,
    cpuFeatureMaskSupported: true,
    s1AcpiManagementSupported: true,
    settingScreenResolutionSupported: false,
    vmNpivWwnSupported: true,
    npivWwnOnNonRdmVmSupported: true,
    settingVideoRamSizeSupported: true,
    changeTrackingSupported,
  });
}

function guest(vm: VmRecord): VimObject {
  const running = vm.tools === "running" && vm.powerState === "poweredOn";
  const { guestId, guestFullName, nics } = hardwareOf(vm);
  return vimObject("GuestInfo", {
    toolsStatus:
      vm.tools === "notInstalled" ? "toolsNotInstalled" : running ? "toolsOk" : "toolsNotRunning",
    toolsVersionStatus2:
      vm.tools === "notInstalled" ? "guestToolsNotInstalled" : "guestToolsUnmanaged",
    toolsRunningStatus: running ? "guestToolsRunning" : "guestToolsNotRunning",
    guestId,
    guestFamily: "linuxGuest",
    guestFullName,
    hostName: running ? inventoryName(vm.name) : undefined,
    net: running ? nics.map(guestNic) : undefined,
    guestState: running ? "running" : "notRunning",
  });
}

function guestNic({ mac, network = "VM Network", addresses }: NicSpec, index: number): VimObject {
  const parts = addresses?.map((address) => address.split("/"));
  const configured = parts
    ?.filter(([, prefix]) => prefix !== undefined)
    .map(([ipAddress, prefix]) =>
      vimObject("NetIpConfigInfoIpAddress", { ipAddress, prefixLength: Number(prefix) }),
    );
  return vimObject("GuestNicInfo", {
    network,
    ipAddress: parts?.map(([address]) => address!),
    macAddress: mac,
    connected: true,
    deviceConfigId: 4000 + index,
    ipConfig: configured?.length
      ? vimObject("NetIpConfigInfo", { ipAddress: configured })
      : undefined,
  });
}

function snapshotInfo(vm: VmRecord): VimObject | undefined {
  if (vm.snapshots.length === 0) return undefined;
  return vimObject("VirtualMachineSnapshotInfo", {
    currentSnapshot: vm.currentSnapshot === undefined ? undefined : snapshotRef(vm.currentSnapshot),
    rootSnapshotList: roots(vm).map((snapshot) => treeOf(vm, snapshot)),
  });
}

function treeOf(vm: VmRecord, snapshot: SnapshotRecord): VimObject {
  return vimObject("VirtualMachineSnapshotTree", {
    snapshot: snapshotRef(snapshot.moref),
    vm: new Moref("VirtualMachine", vm.moref),
    name: snapshot.name,
    description: snapshot.description,
    id: snapshot.id,
    createTime: snapshot.createTime,
    state: snapshot.powerState,
    quiesced: snapshot.quiesced,
    childSnapshotList: childrenOf(vm, snapshot).map((child) => treeOf(vm, child)),
    replaySupported: false,
  });
}

function roots(vm: VmRecord): SnapshotRecord[] {
  return vm.snapshots.filter((snapshot) => snapshot.parent === undefined);
}

function childrenOf(vm: VmRecord, parent: SnapshotRecord): SnapshotRecord[] {
  return vm.snapshots.filter((snapshot) => snapshot.parent === parent.moref);
}

function snapshotRef(moref: string): Moref {
  return new Moref("VirtualMachineSnapshot", moref);
}

function summary(vm: VmRecord, inventory: Inventory): VimObject {
  const { guestId, guestFullName, cpus, memoryMiB } = hardwareOf(vm);
  const capacityBytes = vm.disks.reduce((sum, disk) => sum + disk.capacityBytes, 0);
  return vimObject("VirtualMachineSummary", {
    vm: new Moref("VirtualMachine", vm.moref),
    runtime: runtime(vm, inventory),
    guest: vimObject("VirtualMachineGuestSummary", { guestId, guestFullName }),
    config: vimObject("VirtualMachineConfigSummary", {
      name: inventoryName(vm.name),
      template: vm.template ?? false,
      vmPathName: `[datastore1] ${vm.name}/${vm.name}.vmx`,
      ...(!isUnknown(vm) && {
        memorySizeMB: memoryMiB,
        numCpu: cpus,
        numVirtualDisks: vm.disks.length,
        uuid: vm.biosUuid,
        instanceUuid: vm.instanceUuid,
        guestId,
        guestFullName,
      }),
    }),
    storage: vimObject("VirtualMachineStorageSummary", {
      committed: vm.usedBytes ?? capacityBytes,
      uncommitted: 0,
      unshared: vm.usedBytes ?? capacityBytes,
      timestamp: new Date(0),
    }),
    quickStats: vimObject("VirtualMachineQuickStats", { guestHeartbeatStatus: "green" }),
    overallStatus: "green",
  });
}
