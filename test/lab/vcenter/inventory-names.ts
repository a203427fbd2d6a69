/** The fixed part of the inventory: what a vCenter and an ESXi host call their own objects. */

import { Moref } from "./vim-values.ts";

export type ApiType = "VirtualCenter" | "HostAgent";

export interface InventoryNames {
  readonly rootFolder: Moref;
  readonly rootFolderName: string;
  readonly datacenter: Moref;
  readonly datacenterName: string;
  readonly vmFolder: Moref;
  readonly hostFolder: Moref;
  readonly datastoreFolder: Moref;
  readonly networkFolder: Moref;
  readonly cluster: Moref;
  readonly clusterName: string;
  readonly resourcePool: Moref;
}

const vcenterNames: InventoryNames = {
  rootFolder: new Moref("Folder", "group-d1"),
  rootFolderName: "Datacenters",
  datacenter: new Moref("Datacenter", "datacenter-2"),
  datacenterName: "Datacenter",
  vmFolder: new Moref("Folder", "group-v3"),
  hostFolder: new Moref("Folder", "group-h4"),
  datastoreFolder: new Moref("Folder", "group-s5"),
  networkFolder: new Moref("Folder", "group-n6"),
  cluster: new Moref("ClusterComputeResource", "domain-c7"),
  clusterName: "Cluster",
  resourcePool: new Moref("ResourcePool", "resgroup-8"),
};

const hostNames: InventoryNames = {
  rootFolder: new Moref("Folder", "ha-folder-root"),
  rootFolderName: "ha-folder-root",
  datacenter: new Moref("Datacenter", "ha-datacenter"),
  datacenterName: "ha-datacenter",
  vmFolder: new Moref("Folder", "ha-folder-vm"),
  hostFolder: new Moref("Folder", "ha-folder-host"),
  datastoreFolder: new Moref("Folder", "ha-folder-datastore"),
  networkFolder: new Moref("Folder", "ha-folder-network"),
  cluster: new Moref("ComputeResource", "ha-compute-res"),
  clusterName: "localhost.",
  resourcePool: new Moref("ResourcePool", "ha-root-pool"),
};

export function inventoryNames(apiType: ApiType): InventoryNames {
  return apiType === "VirtualCenter" ? vcenterNames : hostNames;
}

export function managerRef(type: string, apiType: ApiType): Moref {
  const isHost = apiType === "HostAgent";
  const names: Record<string, [string, string]> = {
    PropertyCollector: ["propertyCollector", "ha-property-collector"],
    ViewManager: ["ViewManager", "ViewManager"],
    SessionManager: ["SessionManager", "ha-sessionmgr"],
    AuthorizationManager: ["AuthorizationManager", "ha-authmgr"],
    TaskManager: ["TaskManager", "ha-taskmgr"],
    SearchIndex: ["SearchIndex", "ha-searchindex"],
    LicenseManager: ["LicenseManager", "ha-license-manager"],
  };
  const name = names[type];
  if (!name) throw new Error(`The lab has no manager ${type}`);
  return new Moref(type, name[isHost ? 1 : 0]);
}
