/**
 * Every command of the API that migratekit uses, and what for: the account's role has to have them. The manual's list
 * is made from this one.
 */

export type CommandUse = "always" | "volumes" | "deploy" | "optional";

export const usedCommands: Readonly<Record<string, CommandUse>> = {
  listZones: "always",
  listVolumes: "always",
  listVirtualMachines: "always",
  queryAsyncJobResult: "always",
  listDiskOfferings: "volumes",
  createVolume: "volumes",
  attachVolume: "volumes",
  deleteVolume: "volumes",
  createTags: "volumes",
  deleteTags: "volumes",
  detachVolume: "deploy",
  listCapabilities: "deploy",
  listServiceOfferings: "deploy",
  listTemplates: "deploy",
  listIsos: "deploy",
  listNetworks: "deploy",
  deployVirtualMachine: "deploy",
  startVirtualMachine: "deploy",
  stopVirtualMachine: "deploy",
  destroyVirtualMachine: "deploy",
  listAccounts: "optional",
  listApis: "optional",
  listDetailOptions: "optional",
  listDomains: "optional",
  listProjects: "optional",
  listHypervisorCapabilities: "optional",
  listStoragePools: "optional",
};
