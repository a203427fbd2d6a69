/** The source: nbdkit with VDDK, a process for each disk, started and opened once. */
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { NbdError, probeExport } from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import type { VddkSource } from "../../nbd/nbdkit/command.ts";
import { inspectNbdkit, type NbdkitInspection } from "../../nbd/nbdkit/inspect.ts";
import { type NbdkitExport, startNbdkit } from "../../nbd/nbdkit/nbdkit.ts";
import type { UndoStack } from "../../undo.ts";
import type { FrozenDisk, ServedSource } from "../disk.ts";
import type { RunLease } from "../lease.ts";
import { hostVersionTrouble, oldEndpoint } from "../versions.ts";
import type { HeldVm, SiteContext } from "../vm/held-vm.ts";

/** What reading any disk of one snapshot takes. */
export interface SnapshotSource {
  readonly vddk: Omit<VddkSource, "diskPath">;
  readonly inspection: NbdkitInspection;
  readonly connections: number | undefined;
  readonly exports: UndoStack;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly lease?: RunLease;
}

/**
 * Is everything there that reading a disk takes, and of versions that get on? Asked once, before the VM is
 * touched. @throws MigratekitError `source-…`, `vsphere-too-old`
 */
export async function inspectSource({
  config,
  site,
  logger,
  signal,
}: SiteContext): Promise<NbdkitInspection> {
  const { nbdkit, vddkPlugin: plugin, vddkLibdir: libdir } = config;
  const { about } = site.client;
  const tooOld = oldEndpoint(about);
  if (tooOld) throw tooOld;
  const inspection = await inspectNbdkit({ nbdkit, plugin, libdir, signal });
  const trouble = hostVersionTrouble(about, site.vm.host, inspection.vddkLibraryVersion);
  if (trouble instanceof MigratekitError) throw trouble;
  if (trouble) logger.warn(`${trouble.message}; ${trouble.remedy}`);
  return inspection;
}

/**
 * The way to any disk of a snapshot, each over so many connections (undefined: the engine measures).
 * Endpoint, user and password must be given. `exports` takes the end of each nbdkit.
 */
export function snapshotSource(
  { config, site, logger, signal, lease }: SiteContext & Pick<HeldVm, "lease">,
  snapshotMoref: string,
  inspection: NbdkitInspection,
  connections: number | undefined,
  exports: UndoStack,
): SnapshotSource {
  const vddk = {
    server: config.vmwareEndpoint!.host,
    port: config.vmwareEndpoint!.port,
    nfcPort: config.vddkNfcPort,
    username: config.vmwareUsername!,
    password: config.vmwarePassword!.reveal(),
    thumbprintSha1: site.client.certificate.sha1,
    vmMoref: site.vm.moref,
    snapshotMoref,
    compression: config.compressionMethod,
    transports: config.vddkTransports,
    libdir: config.vddkLibdir,
    plugin: config.vddkPlugin,
    nbdkit: config.nbdkit,
    configFile: config.vddkConfig,
  };
  return { vddk, inspection, connections, exports, logger, signal, ...(lease && { lease }) };
}

/**
 * Starts nbdkit for a disk and opens the disk once: VDDK's errors show here, not in mid-copy.
 * @throws MigratekitError `source-…`, `fleet-lease-lost`; the signal's reason. Nothing is left running then.
 */
export async function startSource(
  { vddk, inspection, connections, exports, logger, signal, lease }: SnapshotSource,
  disk: FrozenDisk,
): Promise<ServedSource> {
  await lease?.barrier(`opening ${disk.diskId}`);
  const nbdkit = await startNbdkit(
    { ...vddk, diskPath: disk.frozen.fileName },
    { logger: logger.child({ disk: disk.diskId }), signal, inspection },
  );
  try {
    await checkSource(nbdkit, disk, signal);
  } catch (error) {
    await nbdkit.stop();
    throw error;
  }
  const guard = lease?.guardSource({
    pause: () => nbdkit.pause(),
    resume: () => nbdkit.resume(signal),
  });
  exports.defer(`stop nbdkit of ${disk.diskId}`, async () => {
    guard?.[Symbol.dispose]();
    await nbdkit.stop();
  });
  return { endpoint: { uri: nbdkit.uri, connections }, nbdkit };
}

async function checkSource(
  nbdkit: NbdkitExport,
  disk: FrozenDisk,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { sizeBytes } = await patiently(
      signal,
      () => probeExport({ uri: nbdkit.uri }, { signal, side: "source" }),
      // "No export" is how nbdkit says that VDDK could not open the disk: trying again is no help.
      async (error) => !/no export/.test(error.message) && !(await nbdkit.findRootCause(error)),
    );
    if (sizeBytes >= disk.frozen.capacityBytes) return;
    throw new MigratekitError(
      "source-open",
      `${disk.diskId}: VDDK opened a disk of ${sizeBytes} bytes where vSphere says ${disk.frozen.capacityBytes}`,
    );
  } catch (error) {
    throw await explainEngineError(error, disk, nbdkit);
  }
}

/**
 * An error of the engine as the operator should see it: which disk, which side, where. What nbdkit said
 * of the source knows more than the NBD client can. Any other error is given back as it is.
 */
export async function explainEngineError(
  error: unknown,
  { diskId, target }: { readonly diskId: string; readonly target: { readonly identity: string } },
  nbdkit: Pick<NbdkitExport, "findRootCause">,
): Promise<unknown> {
  if (!(error instanceof NbdError)) return error;
  const { side, errno, offset, length } = error;
  const place = offset === undefined ? "" : ` at offset ${offset} (${length ?? 0} bytes)`;
  const tries = error.attempts && error.attempts > 1 ? ` after ${error.attempts} attempts` : "";
  const context = { disk: diskId, side, errno, offset, length };
  if (side !== "source") {
    const what = error.code === "ENGINE_READ" ? "reading from" : "writing to";
    return new MigratekitError(
      "target-io",
      `${diskId}: ${what} ${target.identity} failed${place}${tries}: ${messageOf(error)}`,
      { cause: error, remedy: remedyOf(error), context },
    );
  }
  const rootCause = await nbdkit.findRootCause(error);
  if (rootCause === undefined) {
    return new MigratekitError(
      "source-io",
      `${diskId}: reading the source failed${place}${tries}: ${messageOf(error)}`,
      { cause: error, remedy: remedyOf(error), context },
    );
  }
  return new MigratekitError(rootCause.code, `${diskId}: ${rootCause.message}`, {
    cause: error,
    remedy: rootCause.remedy,
    context: { ...rootCause.context, ...context },
  });
}

function remedyOf(error: NbdError): string | undefined {
  if (error.errno !== "ETIMEDOUT") return undefined;
  const flag = /flush/.test(error.message) ? "--flush-timeout" : "--stall-timeout";
  return `Find out why the server is so slow, or give it longer with ${flag}; the next run takes up where this one ended.`;
}
