/** All targets together, before the first byte is written: no two are one, and each takes its disk. */
import { lookup } from "node:dns/promises";
import { realpath } from "node:fs/promises";
import type { Logger } from "pino";
import { messageOf } from "../../errors.ts";
import type { ExportInfo } from "../copy-engine/copy-engine.ts";
import { describeDisk, sharedTarget } from "./disk.ts";
import { type LookOptions, lookAtTargets, type TargetToCheck } from "./look.ts";
import { displayUri, isLoopback, parseNbdUri, targetIdentity, usesTls } from "./uri.ts";
import { volumeName } from "./volume.ts";

/**
 * What each target's server says of it, by device key. Warns of targets whose data would cross a
 * network in the clear.
 * @throws MigratekitError `target-unreachable`, `target-refused`, `target-too-small`,
 *   `target-read-only`, or `usage` when two names lead to one target; the signal's reason
 */
export async function checkTargets(
  targets: readonly TargetToCheck[],
  options: LookOptions & { readonly logger: Logger },
): Promise<Map<number, ExportInfo>> {
  const { logger } = options;
  await refuseSameServer(targets);
  warnOfPlainTargets(targets, logger);
  const { infos, failures } = await lookAtTargets(targets, options);
  for (const failure of failures.slice(1)) logger.error(messageOf(failure));
  if (failures[0]) throw failures[0];
  return infos;
}

/** Warns of targets whose data would cross a network in the clear. */
export function warnOfPlainTargets(targets: readonly TargetToCheck[], logger: Logger): void {
  for (const { endpoint } of targets) {
    const target = parseNbdUri(endpoint.uri);
    if (usesTls(target) || target.host === undefined || isLoopback(target.host)) continue;
    logger.warn(
      `${displayUri(endpoint.uri)} is not on this machine and has no TLS: the disk's data crosses the network unprotected; use nbds:// or the tunnel`,
    );
  }
}

/**
 * Two names for one server, or two paths to one socket: what `assignTargets` cannot see.
 * @throws MigratekitError `usage` naming two disks
 */
export async function refuseSameServer(targets: readonly TargetToCheck[]): Promise<void> {
  const owners = new Map<string, TargetToCheck>();
  for (const target of targets) {
    const volume = volumeName(parseNbdUri(target.endpoint.uri).exportName);
    for (const place of [volume ?? [], await placesOf(target.endpoint.uri)].flat()) {
      const owner = owners.get(place);
      if (owner !== undefined && owner.key !== target.key) {
        throw sharedTarget(describeDisk(owner), describeDisk(target), target.endpoint.uri);
      }
      owners.set(place, target);
    }
  }
}

/** The target under every address of its server. A name that does not resolve fails in the probe. */
async function placesOf(uri: string): Promise<string[]> {
  const { host, port, socketPath, exportName } = parseNbdUri(uri);
  if (host === undefined || port === undefined) {
    const real = await realpath(socketPath ?? "").catch(() => socketPath);
    return [`unix:${real}#${exportName}`];
  }
  const addresses = await lookup(host, { all: true }).catch(() => []);
  const name = encodeURIComponent(exportName);
  const hosts = [host, ...addresses.map(({ address }) => address)];
  return hosts.map((each) =>
    targetIdentity(`nbd://${each.includes(":") ? `[${each}]` : each}:${port}/${name}`),
  );
}
