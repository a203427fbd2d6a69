/**
 * What a run that was interrupted had given to its kernel, or to a tunnel, may reach the target long after
 * that run, and over what a later one wrote; vSphere never lists those blocks again. So a later run looks
 * again, before its change ID becomes true, at all that changed since the interrupted run's snapshot.
 * Elsewhere what arrives late is what is there already.
 */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { Engine, RetryEvent } from "../../nbd/copy-engine/copy-engine.ts";
import { totalBytes } from "../../ranges.ts";
import { reportOnly } from "../../report-only.ts";
import { pause } from "../../retry.ts";
import { type EarlierWriters, underWayMs, type WrittenTarget } from "../../state/late-writes.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { type FrozenDisk, type PreparedDisk, sidesOf } from "../disk.ts";
import type { Reporter } from "../vm/held-vm.ts";
import { type AreaQuery, changedAreas, isUnavailable } from "./areas.ts";
import { brokenHistory } from "./decision.ts";

const signEveryMs = 30_000;
const repairsMax = 3;

interface WriterContext {
  readonly identity: VmIdentity;
  readonly state: Pick<State, "lateWrites">;
  readonly logger: Logger;
}

/** Notes for a disk's target that it is being written to, from before the first byte; `dispose` ends that. */
export class TargetWriter implements Disposable {
  readonly earlier: EarlierWriters | undefined;
  readonly #context: WriterContext;
  readonly #target: WrittenTarget;
  readonly #changeId: string | undefined;
  readonly #signs: NodeJS.Timeout;
  #lost = false;
  #upSinceMs: number | undefined;

  /** Writes content of the snapshot with `changeId`. @throws MigratekitError `state-unusable` */
  constructor(context: WriterContext, { frozen, target }: FrozenDisk, changeId?: string) {
    this.#context = context;
    this.#target = { deviceKey: frozen.key, identity: target.identity };
    this.#changeId = changeId;
    this.earlier = context.state.lateWrites.begin(context.identity, this.#target, changeId);
    this.#signs = setInterval(() => this.#sign(), signEveryMs);
    this.#signs.unref();
  }

  /** A connection to the target that is lost may have left requests on their way. */
  onRetry({ side }: Pick<RetryEvent, "side">): void {
    if (side !== "target") return;
    this.#lost = true;
    this.#upSinceMs = undefined;
  }

  onFlush(): void {
    this.#upSinceMs ??= performance.now();
  }

  /** Of this process's monotonic clock: since then flushes succeed over connections of this run. */
  get upSinceMs(): number {
    return this.#upSinceMs ?? performance.now();
  }

  /** All is written and flushed, and nothing of earlier writers is over it. */
  end(): void {
    const { state, identity } = this.#context;
    state.lateWrites.end(identity, this.#target, this.#changeId, this.#lost);
    clearInterval(this.#signs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#signs);
    this.#sign();
  }

  #sign(): void {
    const { state, logger } = this.#context;
    reportOnly(logger, `that ${this.#target.identity} is written to is not noted`, () =>
      state.lateWrites.sign(this.#target),
    );
  }
}

interface LateWriteContext {
  readonly identity: VmIdentity;
  readonly state: Pick<State, "records">;
  readonly engine: Engine;
  readonly query: AreaQuery;
  readonly config: Pick<Config, "targetDropTime">;
  readonly reporter: Reporter;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * When all is copied and flushed: waits until nothing of an earlier writer is under way, looks again
 * wherever that may have done harm, over connections made now, and copies again what differs.
 * @throws MigratekitError `target-forgets` where it differs still, and then nothing is believed of the
 *   target any more; `vsphere-…`; NbdError; the signal's reason
 */
export async function shutOutLateWrites(
  context: LateWriteContext,
  disk: PreparedDisk,
  writer: TargetWriter,
): Promise<void> {
  const { earlier } = writer;
  if (earlier === undefined) return;
  const { engine, reporter, logger, signal } = context;
  const { diskId } = disk;
  const extents = await endangered(context.query, disk, earlier);
  if (extents?.length === 0) return;
  await waitForLateWrites(context, disk, earlier, writer.upSinceMs);
  const sides = { ...sidesOf(disk), signal };
  const plannedBytes = extents ? totalBytes(extents) : disk.frozen.capacityBytes;
  reporter.tracker.setDiskNote(diskId, "looking for late writes of an interrupted run");
  for (let repairs = 0; ; repairs++) {
    const found = await engine.compare({ ...sides, ...(extents && { extents }) });
    const { differences, differingBytes, truncated } = found;
    if (differences.length === 0) {
      logger.info(
        { disk: diskId, comparedBytes: plannedBytes },
        `${diskId}: what changed since the interrupted run's snapshot is on the target`,
      );
      reporter.tracker.setDiskNote(diskId, undefined);
      return;
    }
    if (repairs === repairsMax) {
      context.state.records.distrustDisk(context.identity, disk.frozen.key);
      throw stillDiffers(disk, differences[0]!);
    }
    logger.warn(
      { disk: diskId, differingBytes, offset: differences[0] },
      `${diskId}: ${differingBytes} bytes of an interrupted run arrived late over newer ones; they are copied again`,
    );
    const again = truncated ? extents : differences;
    await engine.copy({ ...sides, onFigures: disk.tally.copied, ...(again && { extents: again }) });
  }
}

/** Where late writes may have done harm: what changed since; undefined: anywhere. */
async function endangered(
  query: AreaQuery,
  disk: FrozenDisk,
  { baseChangeId }: EarlierWriters,
): Promise<Float64Array | undefined> {
  if (baseChangeId === undefined) return undefined;
  const { changeId } = disk.frozen;
  if (brokenHistory("its change ID", baseChangeId, changeId ?? "") !== undefined) return undefined;
  return await changedAreas(query, disk, baseChangeId).catch((error: unknown) => {
    if (!isUnavailable(error)) throw error;
    return undefined;
  });
}

/**
 * The path is up since a flush over a connection of our own succeeded. Whatever was under way is sent
 * again within `--target-drop-time` from then on, or never.
 */
async function waitForLateWrites(
  { config, reporter, logger, signal }: LateWriteContext,
  { diskId }: FrozenDisk,
  { lastSignMs }: EarlierWriters,
  upSinceMs: number,
): Promise<void> {
  const untilUpMs = upSinceMs + config.targetDropTime - performance.now();
  const untilGoneMs = lastSignMs + underWayMs - Date.now();
  const waitMs = Math.min(untilUpMs, untilGoneMs);
  if (waitMs <= 0) return;
  const waiting = "waiting for late writes of an interrupted run";
  reporter.tracker.setDiskNote(diskId, waiting);
  logger.info(
    { disk: diskId, waitMs: Math.ceil(waitMs) },
    `${diskId}: ${waiting}, ${Math.ceil(waitMs / 1000)} s (--target-drop-time)`,
  );
  await pause(waitMs, signal);
}

function stillDiffers({ diskId, target }: FrozenDisk, offset: number): MigratekitError {
  return new MigratekitError(
    "target-forgets",
    `${diskId}: ${target.identity} differs from the snapshot at offset ${offset}, though that was copied again ${repairsMax} times`,
    { context: { disk: diskId, offset } },
  );
}
