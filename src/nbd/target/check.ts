/** Looking at every target before the first byte is written. */
import { lookup } from "node:dns/promises";
import { constants } from "node:fs";
import { access, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { type ErrorCode, MigratekitError, messageOf } from "../../errors.ts";
import { sizeText } from "../../text.ts";
import {
  type ExportInfo,
  type NbdEndpoint,
  NbdError,
  probeExport,
} from "../copy-engine/copy-engine.ts";
import { describeDisk, sharedTarget, type TargetDisk } from "./disk.ts";
import { displayUri, isLoopback, parseNbdUri, targetIdentity, usesTls } from "./uri.ts";

export interface TargetToCheck extends TargetDisk {
  readonly endpoint: NbdEndpoint;
}

export interface TargetCheckOptions {
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** For each target. */
  readonly timeoutMs?: number;
}

/**
 * What each target's server says of it, by device key. Warns of targets whose data would cross a
 * network in the clear.
 * @throws MigratekitError `target-unreachable`, `target-refused`, `target-too-small`,
 *   `target-read-only`, or `usage` when two names lead to one target; the signal's reason
 */
export async function checkTargets(
  targets: readonly TargetToCheck[],
  options: TargetCheckOptions,
): Promise<Map<number, ExportInfo>> {
  for (const target of targets) await requireVerification(target);
  await refuseSameServer(targets);
  warnOfPlainTargets(targets, options.logger);
  const results = await Promise.allSettled(targets.map((target) => checkTarget(target, options)));
  options.signal?.throwIfAborted();
  const failures = results.filter((result) => result.status === "rejected");
  for (const { reason } of failures.slice(1)) options.logger.error(messageOf(reason));
  if (failures[0]) throw failures[0].reason;
  const infos = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  return new Map(targets.map((target, at) => [target.key, infos[at]!]));
}

async function checkTarget(
  target: TargetToCheck,
  options: TargetCheckOptions,
): Promise<ExportInfo> {
  const { signal, timeoutMs = 30_000 } = options;
  const uri = displayUri(target.endpoint.uri);
  const context = { disk: `disk-${target.key}`, uri, capacityBytes: target.capacityBytes };
  const info = await probeExport(target.endpoint, {
    timeoutMs,
    ...(signal === undefined ? {} : { signal }),
  }).catch((error: unknown) => {
    throw error instanceof NbdError ? explainProbe(error, target, uri) : error;
  });
  if (info.sizeBytes < target.capacityBytes) {
    const { sizeBytes } = info;
    throw new MigratekitError(
      "target-too-small",
      `${uri} has ${exact(sizeBytes)}, which is ${exact(target.capacityBytes - sizeBytes)} less than ${describeDisk(target)} with ${target.capacityBytes} bytes`,
      { context: { ...context, sizeBytes } },
    );
  }
  if (info.readOnly) {
    throw new MigratekitError(
      "target-read-only",
      `${uri} is read-only and cannot take ${describeDisk(target)}`,
      { context },
    );
  }
  return info;
}

function explainProbe(error: NbdError, target: TargetToCheck, uri: string): MigratekitError {
  const code: ErrorCode = isRefusal(error) ? "target-refused" : "target-unreachable";
  const remedy = remedyFor(error, target);
  return new MigratekitError(
    code,
    `${uri}, the target of disk-${target.key}, ${code === "target-refused" ? "was refused" : "cannot be reached"}: ${error.message}`,
    {
      cause: error,
      ...(remedy === undefined ? {} : { remedy }),
      context: { disk: `disk-${target.key}`, uri, errno: error.errno },
    },
  );
}

/** A server that answered and said no; libnbd gives some of these no other mark than their text. */
function isRefusal(error: NbdError): boolean {
  // Our own key file lacks the user: the server has not been asked for the export.
  if (/PSK file/.test(error.message)) return false;
  return (
    error.code === "ENGINE_REFUSED" ||
    /no export named|server policy|server replied with error to opt_go/.test(error.message)
  );
}

function remedyFor(error: NbdError, target: TargetToCheck): string | undefined {
  const tls = usesTls(parseNbdUri(target.endpoint.uri));
  if (!tls && /TLS/.test(error.message))
    return "The server wants TLS: use nbds:// in --nbd-targets.";
  if (tls && /getlogin_r/.test(error.message)) {
    return "Name the user of the pre-shared key in the URI: nbds://user@host:port/export.";
  }
  if (tls && /TLS|certificate|gnutls|PSK file/i.test(error.message)) {
    return "Check --nbd-tls-ca-file, --nbd-tls-certificates and --nbd-tls-psk-file, and that the server offers TLS.";
  }
  return undefined;
}

/**
 * libnbd encrypts, but verifies nobody, where it is given no pre-shared keys and finds no
 * ca-cert.pem, even in a directory that was named and does not exist (seen with 1.14).
 */
async function requireVerification({ endpoint }: TargetToCheck): Promise<void> {
  const target = parseNbdUri(endpoint.uri);
  if (!usesTls(target)) return;
  if (endpoint.tlsPskFile || target.parameters.has("tls-psk-file")) return;
  const dir = endpoint.tlsCertDir || target.parameters.get("tls-certificates");
  const reason =
    dir === undefined
      ? "neither a CA nor a pre-shared key is given"
      : await access(join(dir, "ca-cert.pem"), constants.R_OK).then(() => undefined, messageOf);
  if (reason === undefined) return;
  throw new MigratekitError(
    "usage",
    `${displayUri(endpoint.uri)} could not be verified: ${reason}`,
    { remedy: "Give --nbd-tls-ca-file or --nbd-tls-psk-file." },
  );
}

function warnOfPlainTargets(targets: readonly TargetToCheck[], logger: Logger): void {
  for (const { endpoint } of targets) {
    const target = parseNbdUri(endpoint.uri);
    if (usesTls(target) || target.host === undefined || isLoopback(target.host)) continue;
    logger.warn(
      `${displayUri(endpoint.uri)} is not on this machine and has no TLS: the disk's data crosses the network unprotected; use nbds:// or the tunnel`,
    );
  }
}

/** Two names for one server, or two paths to one socket: what `assignTargets` cannot see. */
async function refuseSameServer(targets: readonly TargetToCheck[]): Promise<void> {
  const owners = new Map<string, TargetToCheck>();
  for (const target of targets) {
    for (const place of await placesOf(target.endpoint.uri)) {
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

function exact(bytes: number): string {
  return bytes < 1_024 ? `${bytes} bytes` : `${sizeText(bytes)} (${bytes} bytes)`;
}
