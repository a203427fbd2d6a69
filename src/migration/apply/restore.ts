/** The way back: the old bytes of a conversion, brought back to all targets and proved to be there. */
import { join } from "node:path";
import { MigratekitError, messageOf } from "../../errors.ts";
import { digestRanges, probeExport } from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import { targetNames } from "../../nbd/target/names.ts";
import { prepareTargetTls } from "../../nbd/target/tls.ts";
import { targetIdentity } from "../../nbd/target/uri.ts";
import type { StoredConversion } from "../../state/machine/conversions.ts";
import { ownedByOther } from "../../state/targets.ts";
import { type ApplyContext, targetError, type WrittenDisk } from "./context.ts";
import {
  type KeptDisk,
  type KeptList,
  oldBytesLost,
  rangesOf,
  readKeptList,
  removeFolder,
} from "./kept-list.ts";
import { serveFile } from "./serve.ts";
import { writePieces } from "./write.ts";

/** A disk of the list, and its target as it is now. */
export interface ReachedDisk {
  readonly kept: KeptDisk;
  readonly target: WrittenDisk;
}

export interface Restored {
  readonly disks: readonly { readonly diskId: string; readonly restoredBytes: number }[];
}

/**
 * Brings the old bytes back to every target that still belongs to the VM, and forgets the conversion. Done
 * again from its beginning where it was interrupted. `look` sees the targets before the first byte is written.
 * @throws MigratekitError `old-bytes-lost`, `target-…`, `locked`; whatever `look` throws; the signal's reason
 */
export async function restoreTargets(
  context: ApplyContext,
  look: (disks: readonly ReachedDisk[]) => Promise<void> = async () => {},
): Promise<Restored> {
  const { identity, state } = context;
  const stored = state.conversions.read(identity);
  if (stored === undefined) return { disks: [] };
  if (stored.phase !== "keeping") await bringBack(context, stored, look);
  const restored = stored.phase === "keeping" ? [] : listOf(stored).disks;
  state.conversions.enter(identity, "keeping");
  removeFolder(stored.folder);
  state.conversions.forget(identity);
  return {
    disks: restored.map(({ diskId, pieces }) => ({
      diskId,
      restoredBytes: pieces.reduce((sum, { length }) => sum + length, 0),
    })),
  };
}

/** The disks whose targets still belong to the VM. */
function listOf(stored: StoredConversion): KeptList {
  const list = readKeptList(stored.folder, stored.listDigest);
  return { ...list, disks: list.disks.filter(({ deviceKey }) => stored.disks.includes(deviceKey)) };
}

async function bringBack(
  context: ApplyContext,
  stored: StoredConversion,
  look: (disks: readonly ReachedDisk[]) => Promise<void>,
): Promise<void> {
  const { identity, state, logger, work, signal } = context;
  const list = listOf(stored);
  const uris = list.disks.map(({ uri }) => uri);
  await using tls = await prepareTargetTls(list.tls, uris);
  const reached: ReachedDisk[] = [];
  for (const kept of list.disks) reached.push(await reach(context, kept, tls.endpointFields));
  for (const { kept } of reached) await proveFile(context, stored.folder, kept);
  await look(reached);
  state.conversions.enter(identity, "rolling-back");
  for (const { kept, target } of reached) {
    const path = join(stored.folder, kept.file);
    await using file = await serveFile(work, { path, as: "raw", writable: false }, signal);
    await writePieces(context, target, file.endpoint, kept.pieces, "old");
    logger.info({ disk: kept.diskId }, `${kept.diskId}: holds what it held before the conversion`);
  }
}

/** Its target, held, and still the VM's own. */
async function reach(
  { config, identity, state, targetLocks, signal }: ApplyContext,
  kept: KeptDisk,
  tls: object,
): Promise<ReachedDisk> {
  const { deviceKey, diskId, uri } = kept;
  const names = await targetNames(uri);
  const owner = state.targets.findOtherOwner(identity, { deviceKey, names: names.lasting });
  if (owner !== undefined) throw ownedByOther({ deviceKey, names: names.lasting }, owner);
  await targetLocks.take([...names.lasting, ...names.passing]);
  const endpoint = {
    uri,
    ...tls,
    ...(config.targetConnections === undefined ? {} : { connections: config.targetConnections }),
  };
  const target = {
    deviceKey,
    diskId,
    endpoint,
    identity: targetIdentity(uri),
    sizeBytes: kept.sizeBytes,
  };
  const info = await patiently(signal, () => probeExport(endpoint, { signal })).catch(
    (error: unknown) => {
      throw targetError(error, target);
    },
  );
  if (info.sizeBytes === kept.sizeBytes) return { kept, target };
  throw oldBytesLost(
    target.identity,
    `the target of ${diskId} had ${kept.sizeBytes} bytes and has ${info.sizeBytes}`,
  );
}

/** The kept file is what it was: nothing else is ever written to a target. */
async function proveFile(
  { work, signal }: ApplyContext,
  folder: string,
  { file, pieces }: KeptDisk,
): Promise<void> {
  if (pieces.length === 0) return;
  const path = join(folder, file);
  try {
    await using server = await serveFile(work, { path, as: "raw", writable: false }, signal);
    const now = await digestRanges(server.endpoint, rangesOf(pieces), { signal });
    const other = pieces.find((piece, index) => piece.old !== now[index]);
    if (other) throw oldBytesLost(folder, `${file} was changed at offset ${other.offset}`);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof MigratekitError ? error : oldBytesLost(folder, messageOf(error));
  }
}
