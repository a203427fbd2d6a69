/** Which export takes which disk. */

import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { ExportInfo, NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { checkTargets } from "../../nbd/target/check.ts";
import { acceptedNoFlush, obstacleToFlush } from "../../nbd/target/flush.ts";
import { targetNames } from "../../nbd/target/names.ts";
import { assignTargets, parseTargets } from "../../nbd/target/target.ts";
import { prepareTargetTls } from "../../nbd/target/tls.ts";
import { targetIdentity } from "../../nbd/target/uri.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { UndoStack } from "../../undo.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import { openCloudStack } from "../cloud.ts";
import type { FoundDisk } from "../disk.ts";
import { Tally } from "../tally.ts";
import { tlsOptionsOf } from "../target-tls.ts";
import { awaitExports, checkVolumeFlags, provideVolumes, volumeUri } from "../volumes/volumes.ts";
import { diskIdOf, selectDisks } from "./disks.ts";
import type { SharedResources, SiteContext } from "./held-vm.ts";

/** Finds mistakes in what says the targets before anything is connected. @throws `usage` */
export function checkTargetFlags(config: Config): void {
  checkVolumeFlags(config);
  if (config.nbdTargets !== undefined) parseTargets(config.nbdTargets);
}

/** Which VM's disks are looked for, and who else may be writing. */
export type TargetContext = SiteContext & {
  readonly shared?: Pick<SharedResources, "targets">;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "records">;
};

/**
 * Every disk that takes part with its target, resolved, looked at and claimed for this VM: the one place
 * where a target becomes a disk's. TLS files that it gathers live until `undo`.
 * @throws MigratekitError `usage` (also where another VM of this process writes to one of them),
 *   `vm-unsuitable`, `target-…`; the signal's reason
 */
export async function findDisks(context: TargetContext, undo: UndoStack): Promise<FoundDisk[]> {
  const { site, identity, state, logger, signal } = context;
  const disks = selectDisks(site.vm, context.config.skipDisks);
  const known = knownTargets(state, identity);
  const config = await withVolumes(context, disks, known);
  const endpoints = await targetEndpoints(config, site.vm.disks, disks, undo, known);
  if (config.cloudstackVolumes !== undefined) {
    const targets = disks.map((disk) => ({ disk, endpoint: endpoints.get(disk.key)! }));
    await awaitExports(targets, { logger, signal });
  }
  const wanted = disks.map((disk) => ({ ...disk, endpoint: endpoints.get(disk.key)! }));
  const infos = await checkTargets(wanted, { logger, signal });
  const writes = config.command !== "verify" || config.repair;
  for (const target of writes ? wanted : []) {
    const obstacle = obstacleToFlush(target, infos.get(target.key)!);
    if (obstacle && !config.acceptNoFlush) throw obstacle;
    if (obstacle) logger.warn(acceptedNoFlush(obstacle));
  }
  const found: FoundDisk[] = [];
  for (const disk of disks) {
    found.push(await foundDisk(disk, endpoints.get(disk.key)!, infos.get(disk.key)!));
  }
  for (const { target } of found) claimTarget(context, target.identity);
  return found;
}

/** The settings with the volumes' exports as `--nbd-targets`, where volumes are the targets. */
async function withVolumes(
  context: TargetContext,
  disks: readonly VirtualDisk[],
  known: ReadonlyMap<number, string>,
): Promise<Config> {
  const { config, site, identity, logger, signal } = context;
  if (config.cloudstackVolumes === undefined) return config;
  const volumes = await provideVolumes({
    ...{ config, identity, disks, known, logger, signal, vmName: site.vm.name },
    cloud: openCloudStack(context),
    mayCreate: config.command !== "verify",
  });
  return withTargets(
    config,
    [...volumes].map(([key, { id }]) => [key, id]),
  );
}

/** `config` with the exports of these volumes, by device key, as its targets. */
export function withTargets(
  config: Config,
  volumes: readonly (readonly [number, string])[],
): Config {
  const targets = volumes.map(([key, id]) => `${key}:${volumeUri(config, id)}`);
  return { ...config, nbdTargets: targets.join(",") };
}

/** The first stage of a disk (disk.ts), once its target has been looked at. */
export async function foundDisk(
  disk: VirtualDisk,
  endpoint: NbdEndpoint,
  info: ExportInfo,
): Promise<FoundDisk> {
  const names = await targetNames(endpoint.uri);
  const target = { endpoint, info, identity: targetIdentity(endpoint.uri), names };
  return { diskId: diskIdOf(disk), disk, target, tally: new Tally() };
}

function claimTarget({ shared, site }: TargetContext, identity: string): void {
  const other = shared?.targets.get(identity);
  if (other !== undefined && other !== site.vmPath) {
    throw new MigratekitError("usage", `the target ${identity} belongs to ${other} already`, {
      remedy: "Give every disk of every VM in the list a target of its own.",
    });
  }
  shared?.targets.set(identity, site.vmPath);
}

/** Where the VM's disks were copied to before, by device key. @throws MigratekitError `state-unusable` */
export function knownTargets(
  { records }: Pick<State, "records">,
  vm: VmIdentity,
): ReadonlyMap<number, string> {
  return new Map(
    records
      .listDisks(vm)
      .flatMap(({ deviceKey, targetUri }) =>
        targetUri === undefined ? [] : [[deviceKey, targetUri] as const],
      ),
  );
}

/**
 * The endpoint of every disk's target, by device key. `known`: targets of before, which a suggestion keeps.
 * @throws MigratekitError `usage`
 */
export async function targetEndpoints(
  config: Config,
  allDisks: readonly VirtualDisk[],
  disks: readonly VirtualDisk[],
  undo: UndoStack,
  known?: ReadonlyMap<number, string>,
): Promise<Map<number, NbdEndpoint>> {
  // `{index}` counts all disks of the VM, so that leaving one out does not move the others.
  const numbered = disks.map((disk) => ({ ...disk, index: allDisks.indexOf(disk) }));
  const uris = assignTargets(numbered, {
    nbdTargets: config.nbdTargets,
    exportName: config.nbdExportName,
    host: config.nbdHost,
    port: config.nbdPort,
    skippedKeys: config.skipDisks,
    knownTargets: known,
  });
  const tls = await prepareTargetTls(tlsOptionsOf({ config }), uris.values());
  undo.use("remove the gathered TLS files", tls);
  return new Map(
    [...uris].map(([key, uri]) => [
      key,
      { uri, connections: config.targetConnections, ...tls.endpointFields },
    ]),
  );
}
