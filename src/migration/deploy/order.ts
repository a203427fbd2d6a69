/** What CloudStack is asked to make: from the settings, what the VM was made of, and what the conversion says. */
import type { CloudStack, NewInstance, Offering } from "../../cloudstack/cloudstack.ts";
import { type Config, requireSettings } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { GuestHardware } from "../../guest-hardware.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { conversionDocument } from "../known/document.ts";
import { type FoundMapping, orderCards } from "./network-cards.ts";

/** What the conversion says that the machine has to be given. */
export type ConvertedMachine = ReturnType<typeof conversionDocument>["hardware"];

/** Everything but what only the conversion tells. */
export interface PlannedOrder {
  readonly name: string;
  readonly networks: readonly FoundMapping["network"][];
  readonly complete: (machine: ConvertedMachine) => NewInstance;
}

/**
 * Asks CloudStack whether all that the settings name is there. Makes nothing.
 * @throws MigratekitError `usage`, `cloudstack-…`
 */
export async function planOrder(
  cloud: CloudStack,
  config: Config,
  identity: VmIdentity,
  hardware: GuestHardware,
  onNotice: (text: string) => void,
): Promise<PlannedOrder> {
  requireSettings(config, "cloudstack-offering", "cloudstack-template");
  const zone = await cloud.zone();
  const offering = await cloud.offering(config.cloudstackOffering!);
  const template = await cloud.template(config.cloudstackTemplate!);
  if (!template.isReady) {
    throw new MigratekitError(
      "cloudstack-conflict",
      `--cloudstack-template ${config.cloudstackTemplate}: it is not ready in ${zone.name}`,
    );
  }
  const root = template.isIso ? await rootForIso(cloud, config) : undefined;
  const mappings: FoundMapping[] = [];
  for (const { portGroup, network, ip } of config.network ?? []) {
    mappings.push({ portGroup, ip, network: await cloud.network(network) });
  }
  const nics = orderCards(hardware.nics, mappings, onNotice);
  const { version } = await cloud.capabilities();
  const name = config.cloudstackName ?? hostLabelOf(hardware.name, identity.instanceUuid);
  const complete = (machine: ConvertedMachine): NewInstance => ({
    name,
    displayName: hardware.name,
    zoneId: zone.id,
    offeringId: offering.id,
    templateId: template.id,
    ...(root && { rootDisk: root, hypervisor: "KVM" }),
    ...(machine.firmware === "uefi" && {
      bootType: "UEFI" as const,
      bootMode: machine.secure_boot ? ("SECURE" as const) : ("LEGACY" as const),
    }),
    nics,
    details: { ...sizeDetails(offering, hardware), ...machineDetails(machine, version) },
    tags: { migratekit_vm: identity.instanceUuid },
  });
  return { name, networks: mappings.map(({ network }) => network), complete };
}

async function rootForIso(cloud: CloudStack, config: Config) {
  requireSettings(config, "cloudstack-disk-offering");
  const { id, isCustom } = await cloud.diskOffering(config.cloudstackDiskOffering!);
  return { diskOfferingId: id, ...(isCustom && { sizeGiB: 1 }) };
}

/** A host label that is the VM's own: letters, digits and hyphens, and a part of its UUID. */
export function hostLabelOf(name: string, instanceUuid: string): string {
  const mark = instanceUuid.replaceAll("-", "").slice(0, 6).toLowerCase();
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^[^a-z]+|-+$/g, "")
    .slice(0, 63 - 1 - mark.length)
    .replace(/-+$/, "");
  return `${label === "" ? "vm" : label}-${mark}`;
}

/** What an offering leaves open is as the VM had it, within the offering's bounds. */
function sizeDetails(
  { isCustom, cpus, memoryMiB, cpuSpeedMHz, bounds }: Offering,
  hardware: GuestHardware,
): Record<string, string> {
  if (!isCustom) return {};
  const within = (value: number, min = 1, max = Number.MAX_SAFE_INTEGER) =>
    String(Math.min(Math.max(value, min), max));
  const { cpusMin, cpusMax, memoryMiBMin, memoryMiBMax } = bounds;
  return {
    ...(cpus === undefined && { cpuNumber: within(hardware.cpus, cpusMin, cpusMax) }),
    ...(memoryMiB === undefined && {
      memory: within(hardware.memoryMiB, memoryMiBMin, memoryMiBMax),
    }),
    ...(cpuSpeedMHz === undefined && { cpuSpeed: defaultSpeedMHz }),
  };
}

/** A share of a core against others, where nothing says it. */
const defaultSpeedMHz = "1000";

function machineDetails(
  { controller, machine, nics }: ConvertedMachine,
  version: string,
): Record<string, string> {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const choosesMachine = major > 4 || (major === 4 && minor >= 22);
  return {
    rootDiskController: controller,
    dataDiskController: controller,
    nicAdapter: nics.some(({ model }) => model === "e1000") ? "e1000" : "virtio",
    ...(choosesMachine && machine === "q35" && { "kvm.guest.os.machine.type": "q35" }),
  };
}
