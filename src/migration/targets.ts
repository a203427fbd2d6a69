import type { Logger } from "pino";
import type { Config } from "../config.ts";
import type { ExportInfo, NbdEndpoint } from "../nbd/copy-engine.ts";
import { assignTargets, parseTargets, targetIdentity } from "../nbd/target.ts";
import { checkTargets } from "../nbd/target-check.ts";
import type { VirtualDisk } from "../vmware/virtual-disk.ts";

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

/** @throws MigratekitError `usage`, `target-…` */
export async function resolveTargets(
  config: Config,
  disks: readonly VirtualDisk[],
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<CheckedTarget[]> {
  const endpoints = targetEndpoints(config, disks);
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
export function targetEndpoints(
  config: Config,
  disks: readonly VirtualDisk[],
): Map<number, NbdEndpoint> {
  const uris = assignTargets(disks, {
    nbdTargets: config.nbdTargets,
    exportName: config.nbdExportName,
    host: config.nbdHost,
    port: config.nbdPort,
    skippedKeys: config.skipDisks,
  });
  return new Map(
    [...uris].map(([key, uri]) => [
      key,
      {
        uri,
        connections: config.targetConnections,
        tlsCertDir: config.nbdTlsCertificates,
        tlsPskFile: config.nbdTlsPskFile,
      },
    ]),
  );
}
