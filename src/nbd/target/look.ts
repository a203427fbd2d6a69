/** Looking at targets: what each one's server says of it, and whether it takes its disk. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { type ErrorCode, MigratekitError, messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { hostAndPort, sizeText } from "../../text.ts";
import {
  type ExportInfo,
  type NbdEndpoint,
  NbdError,
  probeExport,
} from "../copy-engine/copy-engine.ts";
import { untilGreeted } from "../copy-engine/patience.ts";
import { describeDisk, type TargetDisk } from "./disk.ts";
import { displayUri, parseNbdUri, usesTls } from "./uri.ts";

export interface TargetToCheck extends TargetDisk {
  readonly endpoint: NbdEndpoint;
}

export interface LookOptions {
  readonly signal?: AbortSignal;
  /** For each target [30 000]. */
  readonly timeoutMs?: number;
}

export interface Looks {
  /** Of targets that take their disk, by device key. */
  readonly infos: Map<number, ExportInfo>;
  /** In the order of the targets; of a server that cannot be reached only the first are asked for. */
  readonly failures: readonly unknown[];
}

/** nbd-server's accept queue holds 10; other runs and copies under way need room there as well. */
const looksAtOnce = 4;
const serversAtOnce = 16;

/**
 * Looks at four targets of each server at a time. Where one cannot be reached, those behind it in the
 * queue of the same server are not waited for, and are told of together.
 * @throws the signal's reason
 */
export async function lookAtTargets(
  targets: readonly TargetToCheck[],
  options: LookOptions,
): Promise<Looks> {
  const infos = new Map<number, ExportInfo>();
  const failures = new Map<TargetToCheck, unknown>();
  const servers = Map.groupBy(targets, serverOf);
  await mapLimited([...servers], serversAtOnce, async ([server, group]) => {
    let away = false;
    const untried: TargetToCheck[] = [];
    await mapLimited(group, looksAtOnce, async (target) => {
      if (away) return untried.push(target);
      try {
        return infos.set(target.key, await lookAt(target, options));
      } catch (error) {
        away ||= error instanceof MigratekitError && error.code === "target-unreachable";
        return failures.set(target, error);
      }
    });
    if (untried.length > 0) failures.set(untried[0]!, untriedTargets(server, untried));
  });
  options.signal?.throwIfAborted();
  const inOrder = targets.filter((target) => failures.has(target));
  return { infos, failures: inOrder.map((target) => failures.get(target)) };
}

function serverOf({ endpoint }: TargetToCheck): string {
  const { host, port, socketPath } = parseNbdUri(endpoint.uri);
  return host === undefined || port === undefined ? `${socketPath}` : hostAndPort(host, port);
}

function untriedTargets(server: string, targets: readonly TargetToCheck[]): MigratekitError {
  const disks = targets.map(({ key }) => `disk-${key}`).join(", ");
  return new MigratekitError(
    "target-unreachable",
    `${server} cannot be reached, so the targets of ${disks} there were not looked at`,
  );
}

/** @throws MigratekitError `target-…`, `usage`; the signal's reason */
async function lookAt(
  target: TargetToCheck,
  { signal, timeoutMs = 30_000 }: LookOptions,
): Promise<ExportInfo> {
  await requireVerification(target);
  const uri = displayUri(target.endpoint.uri);
  const context = { disk: `disk-${target.key}`, uri, capacityBytes: target.capacityBytes };
  const info = await untilGreeted(timeoutMs, signal, (lookMs) =>
    probeExport(target.endpoint, {
      timeoutMs: lookMs,
      ...(signal === undefined ? {} : { signal }),
    }),
  ).catch((error: unknown) => {
    throw error instanceof NbdError ? explainProbe(error, target, uri, timeoutMs) : error;
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

function explainProbe(
  error: NbdError,
  target: TargetToCheck,
  uri: string,
  timeoutMs: number,
): MigratekitError {
  const reason =
    error.code === "ENGINE_TIMEOUT"
      ? `the server did not answer within ${timeoutMs} ms`
      : error.message;
  const code: ErrorCode = isRefusal(error) ? "target-refused" : "target-unreachable";
  const remedy = remedyFor(error, target);
  return new MigratekitError(
    code,
    `${uri}, the target of disk-${target.key}, ${code === "target-refused" ? "was refused" : "cannot be reached"}: ${reason}`,
    {
      cause: error,
      ...(remedy === undefined ? {} : { remedy }),
      context: { disk: `disk-${target.key}`, uri, errno: error.errno },
    },
  );
}

/** A server that answered and said no; libnbd gives some of these no other mark than their text. */
export function isRefusal(error: NbdError): boolean {
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

function exact(bytes: number): string {
  return bytes < 1_024 ? `${bytes} bytes` : `${sizeText(bytes)} (${bytes} bytes)`;
}
