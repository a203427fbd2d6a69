/** Properties of hosts, datastores and networks. */

import type { HostDescription, Inventory } from "./inventory.ts";
import { productOf } from "./product.ts";
import { Moref, type VimValue, vimObject } from "./vim-values.ts";

const tebibyte = 1_099_511_627_776;

export function hostProperty(
  host: HostDescription,
  inventory: Inventory,
  name: string,
): VimValue | undefined {
  const runtime = vimObject("HostRuntimeInfo", {
    connectionState: host.connectionState ?? "connected",
    powerState: "poweredOn",
    inMaintenanceMode: false,
  });
  const version = host.version ?? inventory.release.version;
  switch (name) {
    case "runtime":
      return runtime;
    case "summary":
      return vimObject("HostListSummary", {
        host: new Moref("HostSystem", host.moref),
        runtime,
        config: vimObject("HostConfigSummary", {
          name: host.name,
          port: 443,
          product: vimObject("AboutInfo", {
            ...productOf(true, version),
            apiType: "HostAgent",
            apiVersion: version,
          }),
          vmotionEnabled: true,
        }),
        quickStats: vimObject("HostListSummaryQuickStats"),
        overallStatus: "green",
        rebootRequired: false,
        ...(inventory.apiType === "VirtualCenter" && { managementServerIp: "127.0.0.1" }),
      });
    case "hardware":
      if (host.uuid === "") return undefined;
      return vimObject("HostHardwareInfo", {
        systemInfo: vimObject("HostSystemInfo", {
          vendor: "Lab",
          model: "Stand-in",
          uuid: host.uuid,
        }),
        cpuInfo: vimObject("HostCpuInfo", {
          numCpuPackages: 1,
          numCpuCores: 4,
          numCpuThreads: 8,
          hz: 2_400_000_000,
        }),
        memorySize: 64 * 1_073_741_824,
      });
    case "vm":
      return inventory.vms
        .filter((vm) => inventory.hostRef(vm.record.host).value === host.moref)
        .map((vm) => new Moref("VirtualMachine", vm.moref));
    case "datastore":
      return inventory.datastores.map((store) => inventory.datastoreRef(store));
    default:
      return undefined;
  }
}

export function datastoreProperty(
  store: string,
  inventory: Inventory,
  name: string,
): VimValue | undefined {
  const url = `ds:///vmfs/volumes/${store}/`;
  switch (name) {
    case "summary":
      return vimObject("DatastoreSummary", {
        datastore: inventory.datastoreRef(store),
        name: store,
        url,
        capacity: 2 * tebibyte,
        freeSpace: inventory.freeBytes.get(store) ?? tebibyte,
        accessible: true,
        multipleHostAccess: true,
        type: "VMFS",
        maintenanceMode: "normal",
      });
    case "info":
      return vimObject("VmfsDatastoreInfo", {
        name: store,
        url,
        freeSpace: tebibyte,
        maxFileSize: 64 * tebibyte,
      });
    case "vm":
      return inventory.vms
        .filter((vm) => vm.record.disks.some((disk) => disk.datastore === store))
        .map((vm) => new Moref("VirtualMachine", vm.moref));
    default:
      return undefined;
  }
}

export function networkProperty(inventory: Inventory, name: string): VimValue | undefined {
  if (name === "vm") return inventory.vms.map((vm) => new Moref("VirtualMachine", vm.moref));
  return undefined;
}
