/** A new machine. Its record comes to be with the call, or is refused then; only the start is the job's. */

import { randomUUID } from "node:crypto";
import { ApiError, apiErrorCodes, parameterError } from "../api/api-error.ts";
import {
  gibibyte,
  type InstanceRecord,
  type NicRecord,
  type Owner,
  type ServiceOfferingRecord,
  type TemplateRecord,
  timeText,
} from "../world/records.ts";
import { byId, instanceAnswer } from "./answers.ts";
import { type Call, type Command, newOwner, submit } from "./command.ts";
import { findById } from "./find.ts";
import { startNow } from "./lifecycle.ts";
import { makeNics } from "./nics.ts";

export const deployVirtualMachine: Command = {
  description: "Creates and automatically starts a virtual machine based on a service offering.",
  isAsync: true,
  parameters:
    "zoneid* serviceofferingid* templateid name displayname startvm networkids iptonetworklist ipaddress " +
    "macaddress details boottype bootmode rootdisksize hypervisor account domainid projectid",
  run(call) {
    const { world, account, parameters } = call;
    const instance = makeInstance(call);
    const starts = parameters.flag("startvm") !== false;
    const job = submit(call, { type: "VirtualMachine", id: instance.id }, async () => {
      if (starts) await startNow(call, instance);
      return { virtualmachine: instanceAnswer(world, instance, account) };
    });
    return { id: instance.id, ...job };
  },
};

function makeInstance(call: Call): InstanceRecord {
  const { world, parameters } = call;
  const { catalogue } = world;
  const zone = findById(call, "zoneid", catalogue.zones);
  const offering = findById(call, "serviceofferingid", catalogue.serviceOfferings);
  const template = findById(call, "templateid", catalogue.templates);
  const owner = newOwner(call);
  if (zone.allocationState === "Disabled" && call.account.roleType !== "Admin")
    throw new ApiError(
      apiErrorCodes.account,
      `Cannot perform this operation, Zone is currently disabled: ${zone.name}`,
    );
  if (template.owner) world.checkOwned(call.account, template.owner, `template ${template.id}`);
  if (!template.ready) throw parameterError(`Template ${template.name} is not ready`);
  const details = parameters.map("details");
  const size = sizeOf(offering, details);
  const nics = makeNics(call, owner);
  const id = randomUUID();
  const name = nameFor(call, nics, id);
  world.checkLimit(owner, "user_vm", 1);
  world.checkLimit(owner, "cpu", size.cpuNumber);
  world.checkLimit(owner, "memory", size.memoryMiB);
  const instance: InstanceRecord = {
    ...{ id, name, displayName: parameters.text("displayname") ?? name, state: "Stopped" },
    ...{ owner, zoneId: zone.id, templateId: template.id, offeringId: offering.id },
    ...{ ...size, details, osTypeId: template.osTypeId, nics },
    ...{ ...firmwareOf(call), created: timeText(), isAppliance: false },
  };
  const rootBytes = rootSize(call, template);
  world.checkLimit(owner, "volume", 1);
  world.checkLimit(owner, "primary_storage", Math.ceil(rootBytes / gibibyte));
  world.instances.set(id, instance);
  addRoot(call, instance, rootBytes, owner);
  return instance;
}

function rootSize({ parameters }: Call, template: TemplateRecord): number {
  const size = parameters.integer("rootdisksize");
  if (size === undefined) return template.sizeBytes;
  if (size < 1) throw parameterError("Root disk size should be a positive number.");
  return Math.max(size * gibibyte, template.sizeBytes);
}

function addRoot({ world }: Call, instance: InstanceRecord, sizeBytes: number, owner: Owner): void {
  const pool = world.catalogue.diskOfferings[0]!.pool;
  const id = randomUUID();
  world.volumes.set(id, {
    ...{ id, name: `ROOT-${instance.id.slice(0, 8)}`, state: "Allocated", type: "ROOT", sizeBytes },
    ...{ instanceId: instance.id, deviceId: 0, attached: timeText() },
    ...{ offeringId: instance.offeringId, pool, owner, zoneId: instance.zoneId },
    ...{ created: timeText(), madeFor: "machine" },
  });
}

/** A name is a host's, and there is one of it in a network's domain. */
function nameFor({ world, parameters }: Call, nics: readonly NicRecord[], id: string): string {
  const name = parameters.text("name") ?? `VM-${id}`;
  if (!/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(name))
    throw parameterError(
      "Invalid name. Vm name can contain ASCII letters 'a' through 'z', the digits '0' through '9', " +
        "and the hyphen ('-'), must be between 1 and 63 characters long, and can't start or end with " +
        '"-" and can\'t start with digit',
    );
  for (const nic of nics) {
    const { domainName } = byId(world.catalogue.networks, nic.networkId);
    const taken = world.standing.some(
      (other) =>
        other.name.toLowerCase() === name.toLowerCase() &&
        other.nics.some(
          (each) => byId(world.catalogue.networks, each.networkId).domainName === domainName,
        ),
    );
    if (taken)
      throw parameterError(
        `The vm with hostName ${name} already exists in the network domain: ${domainName}; network=${nic.networkId}`,
      );
  }
  return name;
}

function sizeOf(offering: ServiceOfferingRecord, details: Readonly<Record<string, string>>) {
  const { limits } = offering;
  const custom = (name: string, fixed: number | undefined, least: number, most: number) => {
    if (fixed !== undefined) return fixed;
    const text = details[name];
    if (text === undefined)
      throw parameterError(
        "Need to specify custom parameter values cpu, cpu speed and memory when using custom offering",
      );
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw parameterError(
        `Invalid ${name} value ${text}, specify a value between ${least} and ${most}`,
      );
    return value;
  };
  const any = Number.MAX_SAFE_INTEGER;
  const { cpuMin = 1, cpuMax = any, memoryMin = 32, memoryMax = any } = limits ?? {};
  return {
    cpuNumber: custom("cpuNumber", offering.cpuNumber, cpuMin, cpuMax),
    cpuSpeedMHz: custom("cpuSpeed", offering.cpuSpeedMHz, 1, any),
    memoryMiB: custom("memory", offering.memoryMiB, memoryMin, memoryMax),
  };
}

function firmwareOf({ parameters }: Call): Pick<InstanceRecord, "bootType" | "bootMode"> {
  const type = parameters.text("boottype")?.toUpperCase() ?? "BIOS";
  const mode = parameters.text("bootmode")?.toUpperCase() ?? (type === "BIOS" ? "LEGACY" : "");
  if (type !== "BIOS" && type !== "UEFI")
    throw parameterError(`Invalid bootType ${type} Specified. Valid values are: [BIOS, UEFI]`);
  if (mode !== "LEGACY" && mode !== "SECURE")
    throw parameterError(`Invalid bootMode ${mode} Specified. Valid values are: [LEGACY, SECURE]`);
  if (type === "BIOS" && mode === "SECURE")
    throw parameterError("Invalid bootMode SECURE for bootType BIOS");
  return { bootType: type, bootMode: mode };
}
