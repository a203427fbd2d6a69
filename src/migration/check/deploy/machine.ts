/** Whether CloudStack has room for the machine: offering, template, limits, name. */
import type { Limits, Offering } from "../../../cloudstack/cloudstack.ts";
import { gibFor } from "../../../cloudstack/names.ts";
import { MigratekitError } from "../../../errors.ts";
import type { GuestHardware } from "../../../guest-hardware.ts";
import { counted } from "../../../text.ts";
import { hostLabelOf } from "../../deploy/order.ts";
import { type Finding, ok, problem, warning } from "../finding.ts";
import type { DeployContext } from "./context.ts";

export async function checkTemplate({ config, cloud }: DeployContext): Promise<Finding[]> {
  const template = await cloud.template(config.cloudstackTemplate!);
  const { name, id, isIso, isReady, hypervisor, osType = "an OS type that is not told" } = template;
  if (!isReady) {
    const message = `--cloudstack-template ${name} (${id}) is not ready in this zone`;
    return [problem("cloudstack", new MigratekitError("cloudstack-conflict", message))];
  }
  if (hypervisor !== undefined && !/^(KVM|None|Any)$/i.test(hypervisor)) {
    const message = `--cloudstack-template ${name} (${id}) is for ${hypervisor}, not for KVM`;
    return [problem("cloudstack", new MigratekitError("cloudstack-conflict", message))];
  }
  const findings = [ok("cloudstack", `${isIso ? "ISO" : "template"}: ${name} (${id}), ${osType}`)];
  if (!isIso) return findings;
  if (config.cloudstackDiskOffering === undefined) {
    const message = `--cloudstack-template ${name} is an ISO, which needs --cloudstack-disk-offering`;
    return [problem("cloudstack", new MigratekitError("usage", message))];
  }
  const offering = await cloud.diskOffering(config.cloudstackDiskOffering);
  return [...findings, ok("cloudstack", `disk offering: ${offering.name} (${offering.id})`)];
}

export async function checkMachine(context: DeployContext): Promise<Finding[]> {
  const { config, cloud, vm } = context;
  const offering = await cloud.offering(config.cloudstackOffering!);
  const findings = [ok("cloudstack", `compute offering: ${offering.name} (${offering.id})`)];
  if (vm === undefined) return findings;
  const { hardware, disks } = vm.details;
  findings.push(...checkSize(offering, hardware));
  const limits = await cloud.limits();
  // The template's root disk is there for a moment, beside the machine's own.
  const wanted = {
    ...{ instances: 1, volumes: 1 },
    cpus: offering.cpus ?? hardware.cpus,
    memoryMiB: offering.memoryMiB ?? hardware.memoryMiB,
  };
  findings.push(...checkLimits(limits, wanted));
  const kept = disks.filter(({ key }) => !config.skipDisks?.includes(key));
  const most = await cloud.dataVolumesMax();
  if (most !== undefined && kept.length - 1 > most) {
    const message = `the VM has ${kept.length - 1} data disks, and an instance may have ${most}`;
    findings.push(problem("cloudstack", new MigratekitError("cloudstack-limit", message)));
  }
  return [...findings, ...(await checkStorage(context, limits))];
}

/** Volumes that were not made yet count against the account's limits. */
async function checkStorage(
  { config, cloud, vm }: DeployContext,
  limits: Limits,
): Promise<Finding[]> {
  if (config.cloudstackVolumes !== "create" || vm === undefined) return [];
  let bytes = 0;
  let volumes = 1;
  for (const { key, capacityBytes } of vm.details.disks) {
    if (config.skipDisks?.includes(key)) continue;
    const name = `migratekit-${vm.identity.instanceUuid.toLowerCase()}-disk-${key}`;
    if ((await cloud.findVolume(name)) !== undefined) continue;
    bytes += gibFor(capacityBytes) * 1024 ** 3;
    volumes += 1;
  }
  return checkLimits(limits, { volumes, primaryStorageGiB: gibFor(bytes) });
}

const limitNames = {
  instances: ["instance", "instances"],
  volumes: ["volume", "volumes"],
  cpus: ["CPU", "CPUs"],
  memoryMiB: ["MiB of memory", "MiB of memory"],
  primaryStorageGiB: ["GiB of primary storage", "GiB of primary storage"],
} as const;

function checkLimits(
  limits: Limits,
  wanted: Partial<Record<keyof typeof limitNames, number>>,
): Finding[] {
  return Object.entries(wanted).flatMap(([name, count]) => {
    const key = name as keyof typeof limitNames;
    const left = limits[key] === undefined ? undefined : Math.max(0, limits[key]);
    if (left === undefined || count <= left) return [];
    const [one, many] = limitNames[key];
    const message = `the account ${limits.account} may take ${counted(left, one, many)} more, and ${count} are needed`;
    return [problem("cloudstack", new MigratekitError("cloudstack-limit", message))];
  });
}

/** A fixed size may be meant otherwise than the VM has it; bounds of a custom one are kept by who deploys. */
function checkSize(
  { name, isCustom, cpus, memoryMiB, bounds }: Offering,
  hardware: GuestHardware,
): Finding[] {
  const has = `the VM has ${counted(hardware.cpus, "CPU")} and ${hardware.memoryMiB} MiB`;
  if (isCustom) {
    const { cpusMin = 0, cpusMax = Infinity, memoryMiBMin = 0, memoryMiBMax = Infinity } = bounds;
    const within =
      hardware.cpus >= cpusMin &&
      hardware.cpus <= cpusMax &&
      hardware.memoryMiB >= memoryMiBMin &&
      hardware.memoryMiB <= memoryMiBMax;
    if (within) return [];
    const message = `the offering ${name} allows ${cpusMin} to ${cpusMax} CPUs and ${memoryMiBMin} to ${memoryMiBMax} MiB; ${has}`;
    return [warning("cloudstack", message, "The machine gets what is nearest; or take another.")];
  }
  const smaller = (cpus ?? 0) < hardware.cpus || (memoryMiB ?? 0) < hardware.memoryMiB;
  if (!smaller) return [];
  const message = `the offering ${name} has ${counted(cpus ?? 0, "CPU")} and ${memoryMiB} MiB; ${has}`;
  return [warning("cloudstack", message, "Take a larger offering, if the machine needs it.")];
}

export async function checkName({ config, cloud, vm }: DeployContext): Promise<Finding[]> {
  if (vm === undefined) return [];
  const { details, identity } = vm;
  const name = config.cloudstackName ?? hostLabelOf(details.hardware.name, identity.instanceUuid);
  const taken = await cloud.findInstance(name);
  if (taken === undefined) return [ok("cloudstack", `the instance's name would be ${name}`)];
  const message = `there is an instance ${name} (${taken.id}) already, in state ${taken.state}`;
  const remedy = "Give another name with --cloudstack-name, or expunge that one.";
  return [problem("cloudstack", new MigratekitError("cloudstack-conflict", message, { remedy }))];
}
