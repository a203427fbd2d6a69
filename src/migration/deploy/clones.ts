/** Copies of disks on volumes of their own, made through the appliance's exports. */
import type { Logger } from "pino";
import type { CloudStack, Volume } from "../../cloudstack/cloudstack.ts";
import { gibFor } from "../../cloudstack/names.ts";
import { type Engine, type NbdEndpoint, probeExport } from "../../nbd/copy-engine/copy-engine.ts";
import { formatNbdUri, parseNbdUri } from "../../nbd/target/uri.ts";
import { whole } from "../../ranges.ts";
import { retry } from "../../retry.ts";

export interface CloneContext {
  readonly cloud: CloudStack;
  readonly applianceId: string;
  readonly engine: Engine;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** A volume of this name, as large as that one, attached to the appliance; found again by its name. */
export async function provideClone(
  { cloud, applianceId, logger }: Pick<CloneContext, "cloud" | "applianceId" | "logger">,
  original: Volume,
  { name, tags }: { readonly name: string; readonly tags?: Readonly<Record<string, string>> },
): Promise<Volume> {
  const { id: zoneId } = await cloud.zone();
  logger.info({ volume: original.id }, `creating the volume ${name}`);
  const clone = await cloud.createVolume({
    ...{ name, zoneId, sizeGiB: gibFor(original.sizeBytes), ...(tags && { tags }) },
    diskOfferingId: original.diskOfferingId ?? "",
  });
  return await cloud.attachVolume(clone.id, applianceId);
}

/**
 * Fills a clone with what `source` has.
 * @throws NbdError, MigratekitError; the signal's reason
 */
export async function fillClone(
  { engine, logger, signal }: CloneContext,
  source: NbdEndpoint,
  original: NbdEndpoint,
  clone: Volume,
): Promise<void> {
  const target = { ...original, uri: exportBeside(original.uri, clone.id), connections: 1 };
  await awaitExport(target, { logger, signal });
  const { sizeBytes } = await probeExport(source, { signal });
  await engine.copy({
    ...{ source, target, capacityBytes: sizeBytes, extents: whole(sizeBytes), signal },
  });
}

/** How long an export may take to appear after its volume was attached. */
const exportLimitMs = 180_000;

/** @throws NbdError; the signal's reason */
export async function awaitExport(
  endpoint: NbdEndpoint,
  { logger, signal }: Pick<CloneContext, "logger" | "signal">,
): Promise<void> {
  await retry(() => probeExport(endpoint, { signal }), {
    ...{ limitMs: exportLimitMs, firstPauseMs: 200, pauseMsMax: 2_000, signal },
    onWait: ({ attempt }) => {
      if (attempt === 4) logger.info(`waiting for the export ${endpoint.uri}`);
    },
  });
}

/** The export of another volume at the same server. */
function exportBeside(uri: string, volumeId: string): string {
  return formatNbdUri({ ...parseNbdUri(uri), exportName: volumeId });
}
