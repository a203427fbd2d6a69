import type { Config } from "../../config.ts";
import type { ExportInfo, NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { checkTargets } from "../../nbd/target/check.ts";
import { assignTargets, parseTargets } from "../../nbd/target/target.ts";
import { prepareTargetTls } from "../../nbd/target/tls.ts";
import { targetIdentity } from "../../nbd/target/uri.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import type { Run } from "./run.ts";
import { selectDisks } from "./site.ts";
import type { UndoStack } from "./undo.ts";

/** A disk and the export that takes it, looked at before the first byte. */
export interface CheckedTarget {
  readonly disk: VirtualDisk;
  readonly endpoint: NbdEndpoint;
  readonly info: ExportInfo;
  /** One text for one export, whatever the spelling of its URI. */
  readonly identity: string;
}

/** Finds mistakes in `--nbd-targets` before anything is connected. @throws `usage` */
export function checkTargetFlags(config: Config): void {
  if (config.nbdTargets !== undefined) parseTargets(config.nbdTargets);
}

/**
 * The checked target of every disk that takes part. TLS files that it gathers live until `undo`.
 * @throws MigratekitError `usage`, `vm-unsuitable`, `target-…`
 */
export async function resolveTargets(
  { config, site, logger, signal }: Run,
  undo: UndoStack,
): Promise<CheckedTarget[]> {
  const disks = selectDisks(site.vm, config.skipDisks);
  const endpoints = await targetEndpoints(config, site.vm.disks, disks, undo);
  const infos = await checkTargets(
    disks.map((disk) => ({ ...disk, endpoint: endpoints.get(disk.key)! })),
    { logger, signal },
  );
  return disks.map((disk) => {
    const endpoint = endpoints.get(disk.key)!;
    return { disk, endpoint, info: infos.get(disk.key)!, identity: targetIdentity(endpoint.uri) };
  });
}

/** The endpoint of every disk's target, by device key. @throws MigratekitError `usage` */
export async function targetEndpoints(
  config: Config,
  allDisks: readonly VirtualDisk[],
  disks: readonly VirtualDisk[],
  undo: UndoStack,
): Promise<Map<number, NbdEndpoint>> {
  // `{index}` counts all disks of the VM, so that leaving one out does not move the others.
  const numbered = disks.map((disk) => ({ ...disk, index: allDisks.indexOf(disk) }));
  const uris = assignTargets(numbered, {
    nbdTargets: config.nbdTargets,
    exportName: config.nbdExportName,
    host: config.nbdHost,
    port: config.nbdPort,
    skippedKeys: config.skipDisks,
  });
  const tls = await prepareTargetTls(
    {
      caFile: config.nbdTlsCaFile,
      certificatesDir: config.nbdTlsCertificates,
      pskFile: config.nbdTlsPskFile,
    },
    uris.values(),
  );
  undo.use("remove the gathered TLS files", tls);
  return new Map(
    [...uris].map(([key, uri]) => [
      key,
      { uri, connections: config.targetConnections, ...tls.endpointFields },
    ]),
  );
}
