/** CloudStack volumes as targets: each disk's found or made, attached to the appliance, seen exported. */

import type { Logger } from "pino";
import type { Instance, Volume } from "../../cloudstack/cloudstack.ts";
import { gibFor } from "../../cloudstack/names.ts";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import type { NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { lookAtTargets } from "../../nbd/target/look.ts";
import { formatNbdUri } from "../../nbd/target/uri.ts";
import { retry } from "../../retry.ts";
import { sizeText } from "../../text.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import { asksForTls } from "../target-tls.ts";
import { type DiskPlan, diskTag, planVolumes, type VolumesWanted, volumeTags } from "./plan.ts";

export {
  checkVolumeFlags,
  planVolumes,
  refuseTwoKinds,
  type VolumePlan,
  volumeTags,
} from "./plan.ts";

export type VolumesContext = VolumesWanted & {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** False: a disk without a volume is an error. */
  readonly mayCreate: boolean;
};

/**
 * The volume of every disk, attached to the appliance, by device key. All are judged before the first is made or
 * attached, so that what is refused changes nothing. Safe to repeat, whatever became of an earlier run.
 * @throws MigratekitError `cloudstack-…`, `target-too-small`, `usage`; the signal's reason
 */
export async function provideVolumes(context: VolumesContext): Promise<Map<number, Volume>> {
  const { cloud, logger } = context;
  const { appliance, disks } = await planVolumes(context);
  const obstacles = disks.flatMap(({ obstacle }) => obstacle ?? []);
  for (const obstacle of obstacles.slice(1)) logger.error(messageOf(obstacle));
  if (obstacles[0]) throw obstacles[0];
  const missing = disks.filter(({ volume }) => volume === undefined);
  if (missing.length > 0 && !context.mayCreate) throw neverMade(missing);
  await refuseTooMany(context, appliance, disks);
  const volumes = new Map<number, Volume>();
  for (const plan of disks) {
    const isMade = plan.volume !== undefined && !mayBeHalfMade(context, plan.volume, plan.name);
    volumes.set(plan.disk.key, isMade ? plan.volume : await createVolume(context, plan));
  }
  for (const { disk } of disks) {
    const { id, instanceId, name, tags } = volumes.get(disk.key)!;
    // Of a volume that was given: by this mark the appliance knows that it is to be exported.
    if (tags[volumeTags.disk] === undefined)
      await cloud.tag({ kind: "Volume", id }, tagsOf(context, disk));
    if (instanceId !== undefined) continue;
    logger.info({ disk: `disk-${disk.key}`, volume: id }, `attaching ${name} to ${appliance.name}`);
    volumes.set(disk.key, await cloud.attachVolume(id, appliance.id));
  }
  if (appliance.state !== "Running") throw notRunning(appliance);
  return volumes;
}

/** `nbd://host:port/ID`, or `nbds:` where TLS was asked for. */
export function volumeUri(config: Config, volumeId: string): string {
  const { nbdHost, nbdPort: port } = config;
  return formatNbdUri({
    scheme: asksForTls({ config }) ? "nbds" : "nbd",
    host: nbdHost.replace(/^\[(.*)\]$/, "$1"),
    port,
    exportName: volumeId,
    parameters: new Map(),
  });
}

/** How long an export may take to appear after its volume was attached. */
const exportLimitMs = 120_000;

/**
 * Waits until every target's server has its export; whatever else is wrong with one is told by who looks
 * closer. @throws MigratekitError `target-refused`; the signal's reason
 */
export async function awaitExports(
  targets: readonly { readonly disk: VirtualDisk; readonly endpoint: NbdEndpoint }[],
  {
    logger,
    signal,
    limitMs = exportLimitMs,
  }: { logger: Logger; signal: AbortSignal; limitMs?: number },
): Promise<void> {
  const look = async () => {
    const wanted = targets.map(({ disk, endpoint }) => ({ ...disk, capacityBytes: 0, endpoint }));
    const { failures } = await lookAtTargets(wanted, { signal, timeoutMs: 10_000 });
    const missing = failures.find(isMissing);
    if (missing !== undefined) throw missing;
  };
  await retry(look, {
    limitMs,
    firstPauseMs: 500,
    pauseMsMax: 3_000,
    isPassing: isMissing,
    onWait: ({ error, attempt }) => {
      if (attempt === 3) logger.info(`waiting for the exports: ${messageOf(error)}`);
    },
    signal,
  }).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    throw new MigratekitError("target-refused", messageOf(error), {
      cause: error,
      remedy:
        "See that 'migratekit export' runs on the appliance, and that --nbd-host and --nbd-port lead to it.",
    });
  });
}

function isMissing(error: unknown): boolean {
  return error instanceof MigratekitError && error.code === "target-refused";
}

/** By a run that was killed: without its tags, or with a twin. Making it again settles that. */
function mayBeHalfMade({ config, mayCreate }: VolumesContext, volume: Volume, name: string) {
  const { instanceId } = volume;
  const created = mayCreate && config.cloudstackVolumes === "create";
  return created && volume.name === name && instanceId === undefined;
}

async function createVolume(context: VolumesContext, plan: DiskPlan): Promise<Volume> {
  const { cloud, config, logger } = context;
  const { disk, name } = plan;
  const sizeGiB = gibFor(disk.capacityBytes);
  const { id: zoneId } = await cloud.zone();
  const what = plan.volume === undefined ? "creating" : "taking up";
  logger.info({ disk: `disk-${disk.key}`, sizeGiB }, `${what} the volume ${name}`);
  const volume = await cloud.createVolume({
    ...{ name, sizeGiB, zoneId, diskOfferingId: config.cloudstackDiskOffering! },
    tags: tagsOf(context, disk),
  });
  if (volume.sizeBytes >= disk.capacityBytes) return volume;
  // An offering of one size; nothing was written to the volume yet, and a larger offering is to get its name.
  if (volume.instanceId === undefined) await cloud.deleteVolume(volume.id);
  throw new MigratekitError(
    "target-too-small",
    `--cloudstack-disk-offering ${config.cloudstackDiskOffering}: its volumes have ${sizeText(volume.sizeBytes)}, and disk-${disk.key} needs ${sizeGiB} GiB`,
    { remedy: "Take an offering of custom size, or a larger one." },
  );
}

function tagsOf(context: VolumesContext, { key }: VirtualDisk) {
  return { [volumeTags.disk]: diskTag(context, key), [volumeTags.vm]: context.vmName };
}

async function refuseTooMany(
  { cloud }: VolumesContext,
  appliance: Instance,
  disks: readonly DiskPlan[],
): Promise<void> {
  const more = disks.filter(({ volume }) => volume?.instanceId === undefined).length;
  const most = more === 0 ? undefined : await cloud.dataVolumesMax(appliance.hypervisor);
  if (most === undefined) return;
  const now = (await cloud.volumesOf(appliance.id)).filter(({ deviceId }) => deviceId !== 0).length;
  if (now + more <= most) return;
  throw new MigratekitError(
    "cloudstack-limit",
    `the appliance ${appliance.name} has ${now} data volumes and may have ${most}; ${more} more are wanted`,
    { remedy: "Use another appliance, or wait until others are cut over." },
  );
}

function notRunning({ name, state }: Instance): MigratekitError {
  return new MigratekitError(
    "cloudstack-conflict",
    `the appliance ${name} is ${state}: it exports nothing`,
    { remedy: "Start it, with 'migratekit export' on it." },
  );
}

function neverMade(missing: readonly DiskPlan[]): MigratekitError {
  const disks = missing.map(({ disk }) => `disk-${disk.key}`).join(", ");
  return new MigratekitError("cloudstack-not-found", `there is no volume of ${disks} yet`, {
    remedy: "Run 'migratekit migrate' first, which makes it.",
  });
}
