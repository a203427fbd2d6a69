/** Which CloudStack volume is a disk's, looked up and judged; nothing is changed. */

import type { CloudStack, Instance, Volume } from "../../cloudstack/cloudstack.ts";
import { gibFor } from "../../cloudstack/names.ts";
import { type Config, requireSettings } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { describeDisk } from "../../nbd/target/disk.ts";
import { volumeIdOf } from "../../nbd/target/volume.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { counted, sizeText } from "../../text.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";

export interface VolumesWanted {
  readonly config: Config;
  readonly cloud: CloudStack;
  /** For people, as the VM is called now. */
  readonly vmName: string;
  readonly identity: VmIdentity;
  readonly disks: readonly VirtualDisk[];
  /** Of before, by device key: identities (nbd/target/uri.ts). */
  readonly known: ReadonlyMap<number, string> | undefined;
}

export interface VolumePlan {
  readonly appliance: Instance;
  readonly disks: readonly DiskPlan[];
}

export interface DiskPlan {
  readonly disk: VirtualDisk;
  /** What a volume made for this disk is called: by the machine's own identity, which no renaming changes. */
  readonly name: string;
  /** Absent: to be made. */
  readonly volume?: Volume | undefined;
  /** Why it cannot be this disk's. */
  readonly obstacle?: MigratekitError | undefined;
}

/** Under these tags a volume made here says whose it is. */
export const volumeTags = { disk: "migratekit-disk", vm: "migratekit-vm" } as const;

/** @throws MigratekitError `usage` for flags alone that cannot be */
export function checkVolumeFlags(config: Config): void {
  const { cloudstackVolumes } = config;
  if (cloudstackVolumes === undefined) return;
  refuseTwoKinds(config);
  requireSettings(
    config,
    "cloudstack-endpoint",
    "cloudstack-api-key",
    "cloudstack-secret-key",
    ...(cloudstackVolumes === "create" ? (["cloudstack-disk-offering"] as const) : []),
  );
}

/** @throws MigratekitError `usage` */
export function refuseTwoKinds({
  cloudstackVolumes,
  nbdTargets,
}: Pick<Config, "cloudstackVolumes" | "nbdTargets">): void {
  if (cloudstackVolumes === undefined || nbdTargets === undefined) return;
  throw new MigratekitError(
    "usage",
    "--nbd-targets and --cloudstack-volumes both say what the targets are",
    { remedy: "Give one of them; a volume's target follows from --nbd-host and --nbd-port." },
  );
}

/**
 * An obstacle is an answer, so that all are found at once.
 * @throws MigratekitError `usage` for disks without a volume or volumes without a disk; `cloudstack-…`
 */
export async function planVolumes(wanted: VolumesWanted): Promise<VolumePlan> {
  const { config, cloud, disks } = wanted;
  const given = config.cloudstackVolumes;
  if (given !== "create" && given !== undefined) refuseWrongKeys(given, wanted);
  const appliance = await cloud.appliance(config.cloudstackAppliance);
  const plans: DiskPlan[] = [];
  for (const disk of disks) {
    const name = `migratekit-${wanted.identity.instanceUuid.toLowerCase()}-disk-${disk.key}`;
    const found = await findVolume(wanted, disk, name);
    if (found instanceof MigratekitError) plans.push({ disk, name, obstacle: found });
    else if (found === undefined) plans.push({ disk, name });
    else {
      const obstacle = await obstacleTo(wanted, { disk, volume: found, appliance });
      plans.push({ disk, name, volume: found, obstacle });
    }
  }
  return { appliance, disks: plans };
}

/** What says of a volume that it was made for this disk. */
export function diskTag({ identity }: Pick<VolumesWanted, "identity">, key: number): string {
  const { endpoint, endpointUuid = endpoint, instanceUuid } = identity;
  return `${endpointUuid.toLowerCase()}/${instanceUuid.toLowerCase()}/${key}`;
}

/** Given, else where the disk was copied to before, else by the name of what is made for it. */
async function findVolume(
  { config, cloud, known }: VolumesWanted,
  disk: VirtualDisk,
  name: string,
): Promise<Volume | MigratekitError | undefined> {
  const given = config.cloudstackVolumes;
  if (given !== "create") {
    const id = given!.get(disk.key)!;
    return (await cloud.volume(id)) ?? unknownVolume(disk, id);
  }
  const knownId = volumeIdOf(known?.get(disk.key) ?? "");
  const before = knownId === undefined ? undefined : await cloud.volume(knownId);
  return before ?? (await cloud.findVolume(name));
}

function unknownVolume(disk: VirtualDisk, id: string): MigratekitError {
  return new MigratekitError(
    "cloudstack-not-found",
    `${describeDisk(disk)}: there is no volume ${id} that this key may see`,
    { remedy: "Correct --cloudstack-volumes." },
  );
}

async function obstacleTo(
  wanted: VolumesWanted,
  { disk, volume, appliance }: { disk: VirtualDisk; volume: Volume; appliance: Instance },
): Promise<MigratekitError | undefined> {
  const refuse = (why: string, remedy: string, code: "cloudstack-conflict" | "target-too-small") =>
    new MigratekitError(
      code,
      `volume ${volume.name} (${volume.id}) cannot be the target of ${describeDisk(disk)}: ${why}`,
      { remedy, context: { disk: `disk-${disk.key}`, volume: volume.id } },
    );
  const conflict = (why: string, remedy: string) => refuse(why, remedy, "cloudstack-conflict");
  const tag = volume.tags[volumeTags.disk];
  if (tag !== undefined && tag !== diskTag(wanted, disk.key))
    return conflict(`it was made for ${tag}`, "Give each disk a volume of its own.");
  if (!["Allocated", "Ready", "Attaching"].includes(volume.state))
    return conflict(`it is ${volume.state}`, "Wait until it is Ready, or take another.");
  const ownerOf = (of: Instance | Volume) =>
    of.projectId === undefined ? `account ${of.account}` : `project ${of.projectId}`;
  const sameOwner =
    volume.projectId === appliance.projectId &&
    (volume.projectId !== undefined ||
      (volume.account === appliance.account && volume.domainId === appliance.domainId));
  if (!sameOwner) {
    return conflict(
      `it belongs to ${ownerOf(volume)}, and the appliance ${appliance.name} to ${ownerOf(appliance)}`,
      "An instance can only be given volumes of its own account.",
    );
  }
  if (volume.zoneId !== appliance.zoneId)
    return conflict(`it is in another zone than the appliance ${appliance.name}`, "Take another.");
  if (volume.instanceId !== undefined && volume.instanceId !== appliance.id) {
    const { instanceName = "", instanceId } = volume;
    return conflict(
      `it is attached to another instance, ${instanceName} (${instanceId})`,
      `Detach it there, if nothing needs it there, or correct --cloudstack-appliance.`,
    );
  }
  if (volume.instanceId !== undefined && volume.deviceId === 0)
    return conflict("it is the appliance's own root disk", "Correct --cloudstack-volumes.");
  if (volume.sizeBytes < disk.capacityBytes) {
    return refuse(
      `it has ${sizeText(volume.sizeBytes)}`,
      `Make it ${gibFor(disk.capacityBytes)} GiB or more.`,
      "target-too-small",
    );
  }
  const { storageId, storageName = storageId } = volume;
  if (storageId !== undefined && (await wanted.cloud.isManagedPool(storageId))) {
    return conflict(
      `its pool ${storageName} is a managed one, from which no volume becomes an instance's root disk`,
      "Take a disk offering whose tags lead to a pool that is not managed.",
    );
  }
  return undefined;
}

function refuseWrongKeys(given: ReadonlyMap<number, string>, { config, disks }: VolumesWanted) {
  const skipped = config.skipDisks ?? [];
  const listed = disks.map(describeDisk).join("; ");
  const stray = [...given.keys()].find(
    (key) => !skipped.includes(key) && !disks.some((disk) => disk.key === key),
  );
  if (stray !== undefined) {
    throw new MigratekitError(
      "usage",
      `--cloudstack-volumes names disk ${stray}, but the VM has ${listed}`,
      { remedy: "Correct the device key: disks are matched by it alone, never by their order." },
    );
  }
  const missing = disks.filter(({ key }) => !given.has(key));
  if (missing.length === 0) return;
  throw new MigratekitError(
    "usage",
    `--cloudstack-volumes has no volume for ${counted(missing.length, "disk")}: ${missing.map(describeDisk).join("; ")}`,
    {
      remedy: `Add ${missing.map(({ key }) => `${key}:ID`).join(",")}, or leave the disk out with --skip-disks.`,
    },
  );
}
