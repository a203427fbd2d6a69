/** All commands of the API that the cloud has, by name, and who may use which. */

import { noSuchEntity } from "../api/api-error.ts";
import type { AccountRecord } from "../world/records.ts";
import { listAccounts, listResourceLimits, listUsers } from "./accounts.ts";
import { attachVolume, detachVolume } from "./attach.ts";
import {
  emptyList,
  listCapabilities,
  listDetailOptions,
  listDiskOfferings,
  listHypervisorCapabilities,
  listNetworks,
  listOsTypes,
  listProjects,
  listServiceOfferings,
  listStoragePools,
  listTemplates,
  listZones,
} from "./catalogue.ts";
import { type Command, listAnswer } from "./command.ts";
import { deployVirtualMachine } from "./deploy.ts";
import { listVirtualMachines, updateVirtualMachine } from "./instances.ts";
import {
  destroyVirtualMachine,
  expungeVirtualMachine,
  startVirtualMachine,
  stopVirtualMachine,
} from "./lifecycle.ts";
import { createSnapshot, deleteSnapshot, listSnapshots } from "./snapshots.ts";
import { createTags, deleteTags, listTags } from "./tags.ts";
import { createVolume, deleteVolume, listVolumes } from "./volumes.ts";

const queryAsyncJobResult: Command = {
  description: "Retrieves the current status of asynchronous job.",
  isAsync: false,
  parameters: "jobid*",
  run({ jobs, parameters }) {
    const id = parameters.required("jobid");
    const job = jobs.describe(id);
    if (job === undefined) throw noSuchEntity(parameters.command, "jobid", id);
    return job;
  },
};

const listApis: Command = {
  description: "lists all available apis on the server, provided by the Api Discovery plugin",
  isAsync: false,
  parameters: "name",
  run({ account, parameters }) {
    const wanted = parameters.text("name")?.toLowerCase();
    const apis = [...commands.entries()]
      .filter(([name]) => mayUse(account, name))
      .filter(([name]) => wanted === undefined || name.toLowerCase() === wanted)
      .map(([name, command]) => apiAnswer(name, command));
    return listAnswer(parameters, "api", apis);
  },
};

function apiAnswer(name: string, { description, isAsync, parameters }: Command): object {
  const params = parameters
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => ({
      ...{ name: word.replace("*", ""), description: "", type: "string", length: 255 },
      required: word.endsWith("*"),
    }));
  return { name, description, isasync: isAsync, related: "", params, response: [] };
}

const commands: ReadonlyMap<string, Command> = new Map(
  Object.entries({
    ...{ listApis, listCapabilities, queryAsyncJobResult },
    ...{ listZones, listServiceOfferings, listDiskOfferings, listTemplates, listNetworks },
    ...{
      listDetailOptions,
      listOsTypes,
      listHypervisorCapabilities,
      listStoragePools,
      listProjects,
    },
    ...{ listAccounts, listUsers, listResourceLimits },
    ...{ listVolumes, createVolume, attachVolume, detachVolume, deleteVolume },
    ...{ createSnapshot, listSnapshots, deleteSnapshot, createTags, listTags, deleteTags },
    ...{ listVirtualMachines, deployVirtualMachine, updateVirtualMachine },
    ...{ startVirtualMachine, stopVirtualMachine, destroyVirtualMachine, expungeVirtualMachine },
    listIsos: emptyList("Lists all available ISO files."),
    listPublicIpAddresses: emptyList("Lists all public ip addresses"),
    listPortForwardingRules: emptyList("Lists all port forwarding rules for an IP address."),
    listIpForwardingRules: emptyList("List the IP forwarding rules"),
  }),
);

/** In any case of its letters, as CloudStack takes it. */
export function commandNamed(text: string): { name: string; command: Command } | undefined {
  for (const [name, command] of commands)
    if (name.toLowerCase() === text.toLowerCase()) return { name, command };
  return undefined;
}

export function mayUse(account: AccountRecord, name: string): boolean {
  const command = commands.get(name);
  return (
    command !== undefined &&
    (account.roleType === "Admin" || command.adminOnly !== true) &&
    !account.deniedCommands.includes(name)
  );
}
