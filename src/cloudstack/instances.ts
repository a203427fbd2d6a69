/** Instances: the virtual machines of CloudStack. */

import { MigratekitError } from "../errors.ts";
import { Entry } from "./fields.ts";
import { type Step, underWay } from "./step.ts";
import type { Fields } from "./wire/answer.ts";
import type { Parameters } from "./wire/signature.ts";

export interface InstanceNic {
  readonly id: string;
  /** Lower case, with colons. */
  readonly mac: string;
  readonly ip?: string | undefined;
  readonly networkId?: string | undefined;
  readonly networkName?: string | undefined;
  readonly isDefault: boolean;
}

export interface Instance {
  readonly id: string;
  /** The host name; unique where its network says so, so never an identity of its own. */
  readonly name: string;
  readonly displayName: string;
  /** Running, Stopped, Starting, Stopping, Migrating, Destroyed, Expunging, Error … */
  readonly state: string;
  readonly account: string;
  readonly domainId?: string | undefined;
  readonly projectId?: string | undefined;
  readonly zoneId?: string | undefined;
  /** Where it runs, where the key may see it: administrators may. */
  readonly hostId?: string | undefined;
  readonly hypervisor?: string | undefined;
  readonly offeringId?: string | undefined;
  readonly templateId?: string | undefined;
  readonly cpus?: number | undefined;
  readonly memoryMiB?: number | undefined;
  readonly bootType?: string | undefined;
  readonly bootMode?: string | undefined;
  readonly nics: readonly InstanceNic[];
  readonly details: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
}

export interface NewInstance {
  /** Its host name, and what it is found again by: one for one purpose, for ever. */
  readonly name: string;
  readonly displayName: string;
  readonly zoneId: string;
  readonly offeringId: string;
  readonly templateId: string;
  /** Where the template is an ISO: the offering and GiB of its root, and the hypervisor. */
  readonly rootDisk?: { readonly diskOfferingId: string; readonly sizeGiB?: number };
  readonly hypervisor?: string;
  readonly bootType?: "UEFI" | "BIOS";
  readonly bootMode?: "LEGACY" | "SECURE";
  /** The first is the default one. Without `ip` CloudStack chooses. */
  readonly nics: readonly { networkId: string; mac?: string; ip?: string }[];
  /** cpuNumber, memory (MiB), rootDiskController … */
  readonly details?: Readonly<Record<string, string>>;
  readonly tags?: Readonly<Record<string, string>>;
}

export function instanceOf(fields: Fields): Instance {
  const entry = new Entry("an instance", fields);
  return {
    id: entry.text("id"),
    name: entry.text("name"),
    displayName: entry.optionalText("displayname") ?? entry.text("name"),
    state: entry.text("state"),
    account: entry.optionalText("account") ?? "",
    domainId: entry.optionalText("domainid"),
    projectId: entry.optionalText("projectid"),
    zoneId: entry.optionalText("zoneid"),
    hostId: entry.optionalText("hostid"),
    hypervisor: entry.optionalText("hypervisor"),
    offeringId: entry.optionalText("serviceofferingid"),
    templateId: entry.optionalText("templateid"),
    cpus: entry.optionalInteger("cpunumber"),
    memoryMiB: entry.optionalInteger("memory"),
    bootType: entry.optionalText("boottype"),
    bootMode: entry.optionalText("bootmode"),
    nics: entry.entries("nic", "a network card").map((nic) => ({
      id: nic.text("id"),
      mac: (nic.optionalText("macaddress") ?? "").toLowerCase(),
      ip: nic.optionalText("ipaddress"),
      networkId: nic.optionalText("networkid"),
      networkName: nic.optionalText("networkname"),
      isDefault: nic.flag("isdefault"),
    })),
    details: entry.texts("details"),
    tags: entry.tags(),
  };
}

/** Removed, though its name and addresses may be taken until it is expunged. */
export function isDestroyed({ state }: Instance): boolean {
  return ["Destroyed", "Expunging"].includes(state);
}

/** Parameters of deployVirtualMachine; the instance is made, and not started. */
export function deployParameters(spec: NewInstance): Parameters {
  const parameters: Record<string, string> = {
    name: spec.name,
    displayname: spec.displayName,
    zoneid: spec.zoneId,
    serviceofferingid: spec.offeringId,
    templateid: spec.templateId,
    startvm: "false",
  };
  if (spec.hypervisor !== undefined) parameters.hypervisor = spec.hypervisor;
  if (spec.rootDisk !== undefined) {
    parameters.diskofferingid = spec.rootDisk.diskOfferingId;
    if (spec.rootDisk.sizeGiB !== undefined) parameters.size = String(spec.rootDisk.sizeGiB);
  }
  if (spec.bootType !== undefined) {
    parameters.boottype = spec.bootType;
    parameters.bootmode = spec.bootMode ?? "LEGACY";
  }
  // `ipaddress` would make CloudStack drop the MAC without a word; this list keeps both.
  spec.nics.forEach(({ networkId, mac, ip }, index) => {
    const at = `iptonetworklist[${index}]`;
    parameters[`${at}.networkid`] = networkId;
    if (ip !== undefined) parameters[`${at}.ip`] = ip;
    if (mac !== undefined) parameters[`${at}.mac`] = mac;
  });
  for (const [name, value] of Object.entries(spec.details ?? {}))
    parameters[`details[0].${name}`] = value;
  return parameters;
}

type Find = () => Promise<Instance | undefined>;

/** On the way from one state to another by a command of somebody's. */
const passingStates = ["Starting", "Stopping", "Migrating", "Restoring"];

export function stateStep(
  find: Find,
  id: string,
  goal: "Running" | "Stopped",
  parameters: Parameters = {},
): Step<Instance> {
  const [verb, command] =
    goal === "Running"
      ? (["start", "startVirtualMachine"] as const)
      : (["stop", "stopVirtualMachine"] as const);
  const what = `${verb} instance ${id}`;
  return {
    what,
    command,
    parameters: { id, ...parameters },
    look: async () => {
      const instance = await find();
      if (instance === undefined || isDestroyed(instance)) {
        const seen =
          instance === undefined ? "there is none that this key may see" : "it was destroyed";
        throw new MigratekitError("cloudstack-not-found", `could not ${what}: ${seen}`);
      }
      if (instance.state === goal) return instance;
      return passingStates.includes(instance.state) ? underWay : undefined;
    },
  };
}

/** Gives what is left to be seen of it: nothing, once it is expunged or this key may not see it. */
export function destroyStep(
  find: Find,
  id: string,
  expunge: boolean,
): Step<{ readonly left: Instance | undefined }> {
  return {
    what: `${expunge ? "expunge" : "destroy"} instance ${id}`,
    command: "destroyVirtualMachine",
    parameters: { id, ...(expunge ? { expunge: "true" } : {}) },
    look: async () => {
      const instance = await find();
      if (instance === undefined) return { left: undefined };
      if (instance.state === "Expunging") return underWay;
      if (instance.state === "Destroyed" && !expunge) return { left: instance };
      return passingStates.includes(instance.state) ? underWay : undefined;
    },
  };
}
