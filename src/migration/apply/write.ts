/** Writing ranges of a target so that they are there: flushed, seen over a later connection, and late writes shut out. */
import { MigratekitError } from "../../errors.ts";
import { digestRanges, type NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import { normalize } from "../../ranges.ts";
import { pause } from "../../retry.ts";
import { type EarlierWriters, underWayMs } from "../../state/late-writes.ts";
import { type ApplyContext, targetError, type WrittenDisk } from "./context.ts";
import { type Piece, rangesOf } from "./kept-list.ts";

const checkpointIntervalMs = 1_000;
const signEveryMs = 30_000;
const repairsMax = 3;

/**
 * Makes the pieces of a target what `source` has, and proves it by their digests.
 * @throws MigratekitError `target-io`, `target-forgets`, `state-unusable`; the signal's reason
 */
export async function writePieces(
  context: ApplyContext,
  disk: WrittenDisk,
  source: NbdEndpoint,
  pieces: readonly Piece[],
  wanted: "old" | "new",
): Promise<void> {
  const { state, identity, signal } = context;
  const target = { deviceKey: disk.deviceKey, identity: disk.identity };
  const earlier = state.lateWrites.begin(identity, target, undefined);
  const signs = setInterval(() => state.lateWrites.sign(target), signEveryMs).unref();
  try {
    const line = new Line();
    await copy(context, disk, source, pieces, line);
    await waitForLateWrites(context, disk, earlier, line.upSinceMs);
    for (let repairs = 0; ; repairs++) {
      const others = await findOthers(disk, pieces, wanted, signal);
      if (others.length === 0) break;
      if (repairs === repairsMax) throw forgets(disk, others[0]!);
      await copy(context, disk, source, others, line);
    }
    state.lateWrites.end(identity, target, undefined, line.lost);
  } catch (error) {
    throw targetError(error, disk);
  } finally {
    clearInterval(signs);
  }
}

/** The pieces of the target whose bytes are not as wanted. @throws NbdError; the signal's reason */
export async function findOthers(
  { endpoint }: Pick<WrittenDisk, "endpoint">,
  pieces: readonly Piece[],
  wanted: "old" | "new",
  signal: AbortSignal,
): Promise<Piece[]> {
  if (pieces.length === 0) return [];
  const ranges = rangesOf(pieces);
  const digests = await patiently(signal, () => digestRanges(endpoint, ranges, { signal }));
  return pieces.filter((piece, index) => piece[wanted] !== digests[index]);
}

/** What is known of the way to the target: since when it is up, and whether requests may be under way on it. */
class Line {
  lost = false;
  #upSinceMs: number | undefined;

  onRetry({ side }: { readonly side: string }): void {
    if (side !== "target") return;
    this.lost = true;
    this.#upSinceMs = undefined;
  }

  onFlush(): void {
    this.#upSinceMs ??= performance.now();
  }

  get upSinceMs(): number {
    return this.#upSinceMs ?? performance.now();
  }
}

async function copy(
  { engine, signal }: ApplyContext,
  { endpoint, sizeBytes }: WrittenDisk,
  source: NbdEndpoint,
  pieces: readonly Piece[],
  line: Line,
): Promise<void> {
  if (pieces.length === 0) return;
  await engine.copy({
    source,
    target: endpoint,
    capacityBytes: sizeBytes,
    extents: normalize(rangesOf(pieces)),
    checkpointIntervalMs,
    signal,
    onRetry: (event) => line.onRetry(event),
    onCheckpoint: () => line.onFlush(),
  });
}

async function waitForLateWrites(
  { config, logger, signal }: ApplyContext,
  { diskId }: WrittenDisk,
  earlier: EarlierWriters | undefined,
  upSinceMs: number,
): Promise<void> {
  if (earlier === undefined) return;
  const untilUpMs = upSinceMs + config.targetDropTime - performance.now();
  const untilGoneMs = earlier.lastSignMs + underWayMs - Date.now();
  const waitMs = Math.min(untilUpMs, untilGoneMs);
  if (waitMs <= 0) return;
  const text = `${diskId}: waiting ${Math.ceil(waitMs / 1000)} s for late writes of who was interrupted (--target-drop-time)`;
  logger.info({ disk: diskId, waitMs: Math.ceil(waitMs) }, text);
  await pause(waitMs, signal);
}

function forgets({ diskId, identity }: WrittenDisk, { offset }: Piece): MigratekitError {
  return new MigratekitError(
    "target-forgets",
    `${diskId}: ${identity} does not hold what was written to it at offset ${offset}, though it was written ${repairsMax + 1} times`,
    {
      remedy: "Look for copyonwrite = true at nbd-server and for another writer to the volume.",
      context: { disk: diskId, offset },
    },
  );
}
