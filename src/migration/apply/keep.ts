/** Old bytes: what a conversion is going to change on all targets, kept and proved before any is touched. */
import { closeSync, ftruncateSync, mkdirSync, openSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { MigratekitError, messageOf } from "../../errors.ts";
import { chunkKind, digestRanges, NbdError } from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import { intersect, merge, normalize, totalBytes, union } from "../../ranges.ts";
import { sizeText } from "../../text.ts";
import { type ApplyContext, targetError, type WrittenDisk } from "./context.ts";
import { readOverlayExtents } from "./extents.ts";
import { type KeptDisk, type Piece, syncPath } from "./kept-list.ts";
import { serveFile } from "./serve.ts";
import { findOthers } from "./write.ts";

export interface KeepSettings {
  /** Of one conversion; made here. */
  readonly folder: string;
  /** --keep-old-max */
  readonly bytesMax: number;
}

export interface DiskToConvert extends WrittenDisk {
  /** A qcow2 file over the target. */
  readonly overlay: string;
  /** That outlive this run (nbd/target/names.ts). */
  readonly names: readonly string[];
}

/** Left free on the file system of the folder, whatever the bound. */
const reserveBytes = 64 * 1024 * 1024;
const pieceBytes = 4 * 1024 * 1024;

/** Counts what all disks keep together. */
class Budget {
  readonly #settings: KeepSettings;
  readonly #freeBytes: number;
  #usedBytes = 0;

  constructor(settings: KeepSettings) {
    this.#settings = settings;
    const { bavail, bsize } = statfsSync(settings.folder);
    this.#freeBytes = bavail * bsize - reserveBytes;
  }

  /** @throws MigratekitError `conversion-too-large`, `old-bytes-unkept` */
  take(bytes: number): void {
    this.#usedBytes += bytes;
    const { folder, bytesMax } = this.#settings;
    if (this.#usedBytes > bytesMax) {
      throw new MigratekitError(
        "conversion-too-large",
        `the conversion changes more than the ${sizeText(bytesMax)} that may be kept of what was there before`,
      );
    }
    if (this.#usedBytes > this.#freeBytes) {
      throw new MigratekitError(
        "old-bytes-unkept",
        `${folder} has no room for what the conversion is going to change: ${sizeText(Math.max(0, this.#freeBytes))} are free`,
      );
    }
  }
}

/**
 * Keeps of every target what its overlay changes. Where the overlay has zeroes and the target has them
 * already, nothing changes, and nothing is kept. Durable when this returns, and proved: what was kept is
 * what the target has, read again over connections made later.
 * @throws MigratekitError `conversion-too-large`, `old-bytes-unkept`, `target-io`, `target-mismatch`,
 *   `overlay-unreadable`; the signal's reason
 */
export async function keepOldBytes(
  context: ApplyContext,
  settings: KeepSettings,
  disks: readonly DiskToConvert[],
): Promise<KeptDisk[]> {
  makeFolder(settings.folder);
  const budget = new Budget(settings);
  budget.take(0);
  const kept: KeptDisk[] = [];
  for (const disk of disks) kept.push(await keepDisk(context, settings, budget, disk));
  return kept;
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new MigratekitError(
      "old-bytes-unkept",
      `the folder ${folder} cannot be made: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

async function keepDisk(
  context: ApplyContext,
  { folder }: KeepSettings,
  budget: Budget,
  disk: DiskToConvert,
): Promise<KeptDisk> {
  const { work, signal } = context;
  const { deviceKey, diskId, endpoint, sizeBytes } = disk;
  const { data, zero } = await readOverlayExtents(work, disk.overlay, signal);
  const within = Float64Array.of(0, sizeBytes);
  const wanted = intersect(union(data, zero), within);
  const file = join(folder, `${diskId}.old`);
  makeSparse(file, sizeBytes);
  const notZero = await copyOld(context, disk, file, wanted, budget);
  syncPath(file);
  const changed = union(intersect(data, within), intersect(zero, notZero));
  const ranges = inPieces(changed);
  const digests = {
    old: await digestsOf(context, file, "raw", ranges),
    new: await digestsOf(context, disk.overlay, "overlay", ranges),
  };
  const pieces = Array.from({ length: ranges.length / 2 }, (_, index) => ({
    offset: ranges[index * 2]!,
    length: ranges[index * 2 + 1]!,
    old: digests.old[index]!,
    new: digests.new[index]!,
  }));
  await proveKept(disk, pieces, signal);
  context.logger.info(
    { disk: diskId, changedBytes: totalBytes(changed), keptBytes: totalBytes(notZero), folder },
    `${diskId}: ${sizeText(totalBytes(changed))} change, and what was there is kept`,
  );
  return { deviceKey, diskId, uri: endpoint.uri, sizeBytes, file: `${diskId}.old`, pieces };
}

/** As large as the target and all zero. */
function makeSparse(file: string, sizeBytes: number): void {
  try {
    const descriptor = openSync(file, "wx", 0o600);
    ftruncateSync(descriptor, sizeBytes);
    closeSync(descriptor);
  } catch (error) {
    throw new MigratekitError("old-bytes-unkept", `${file} cannot be made: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Gives where the target is not zero. */
async function copyOld(
  context: ApplyContext,
  disk: DiskToConvert,
  file: string,
  extents: Float64Array,
  budget: Budget,
): Promise<Float64Array> {
  const { engine, work, signal } = context;
  if (extents.length === 0) return extents;
  const found: Float64Array[] = [];
  await using server = await serveFile(work, { path: file, as: "raw", writable: true }, signal);
  try {
    await engine.copy({
      source: { ...disk.endpoint, connections: 1 },
      target: server.endpoint,
      capacityBytes: disk.sizeBytes,
      extents,
      targetIsZero: true,
      signal,
      onChunks(chunks) {
        const data: number[] = [];
        for (let i = 0; i + 2 < chunks.length; i += 3) {
          if (chunks[i + 2] === chunkKind.data) data.push(chunks[i]!, chunks[i + 1]!);
        }
        const ranges = normalize(Float64Array.from(data));
        found.push(ranges);
        budget.take(totalBytes(ranges));
      },
    });
  } catch (error) {
    // Of this copy the target is the reading side, and the file the other.
    if (error instanceof NbdError && error.side === "source") throw targetError(error, disk);
    if (error instanceof NbdError) throw unkept(file, error);
    throw error;
  }
  return merge(found);
}

function unkept(file: string, error: NbdError): MigratekitError {
  return new MigratekitError("old-bytes-unkept", `${file} cannot be written: ${messageOf(error)}`, {
    cause: error,
  });
}

function inPieces(extents: Float64Array): Float64Array {
  const pieces: number[] = [];
  for (let i = 0; i < extents.length; i += 2) {
    const end = extents[i]! + extents[i + 1]!;
    for (let at = extents[i]!; at < end; at += pieceBytes) {
      pieces.push(at, Math.min(pieceBytes, end - at));
    }
  }
  return Float64Array.from(pieces);
}

/** Of ranges of a file that only this run writes. */
async function digestsOf(
  { work, signal }: ApplyContext,
  path: string,
  as: "raw" | "overlay",
  ranges: Float64Array,
): Promise<string[]> {
  if (ranges.length === 0) return [];
  await using server = await serveFile(work, { path, as, writable: false }, signal);
  return await patiently(signal, () => digestRanges(server.endpoint, ranges, { signal }));
}

async function proveKept(
  disk: DiskToConvert,
  pieces: readonly Piece[],
  signal: AbortSignal,
): Promise<void> {
  const [other] = await findOthers(disk, pieces, "old", signal).catch((error: unknown) => {
    throw targetError(error, disk);
  });
  if (other === undefined) return;
  throw new MigratekitError(
    "target-mismatch",
    `${disk.diskId}: ${disk.identity} changed while what is there was kept, at offset ${other.offset}`,
    { remedy: "Find out who writes to the volume; then convert again." },
  );
}
