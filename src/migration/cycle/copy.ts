/** The copy of a run's disks: engine, journal, checkpoints, and what became of each. */
import type { Config } from "../../config.ts";
import { exitCodes, MigratekitError, messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { type CopyResult, chunkKind, type Engine } from "../../nbd/copy-engine/copy-engine.ts";
import { intersect, union } from "../../ranges.ts";
import { reportOnly } from "../../report-only.ts";
import type { State } from "../../state/state.ts";
import { type CopiedDisk, type CopyOutcome, type PreparedDisk, sidesOf } from "../disk.ts";
import type { Reporter } from "../vm/held-vm.ts";
import { type AreaQuery, changesUnavailable, isUnavailable, joinPages } from "./areas.ts";
import { recordChangeId } from "./change-ids.ts";
import { firstDifference } from "./guard.ts";
import { beginJournal, type JournalContext } from "./journal.ts";
import { shutOutLateWrites, TargetWriter } from "./late-writes.ts";
import { announcePlan, planFullInstead } from "./plan.ts";
import { readTellingRanges, SamplePicker } from "./samples.ts";
import { assertSnapshotThere } from "./snapshot.ts";
import { explainEngineError } from "./source.ts";
import { runDiskOf } from "./summary.ts";

/** How often what is copied becomes durable; so much copying is lost at most by a death. */
const checkpointIntervalMs = 1000;

/** What the copies of all disks of a run share. */
export interface Transfer extends JournalContext {
  readonly engine: Engine;
  /** Should vSphere lose track of the changes while it lists them. */
  readonly query: AreaQuery;
  readonly state: State;
  readonly reporter: Reporter;
  readonly config: Pick<Config, "verify" | "changeIdJob" | "targetDropTime">;
}

/**
 * Copies all disks, `parallelDisks` at a time. A disk that fails does not stop the others.
 * @throws the signal's reason
 */
export async function transfer(
  context: Transfer,
  parallelDisks: number,
  disks: readonly PreparedDisk[],
): Promise<CopiedDisk[]> {
  return await mapLimited(disks, parallelDisks, (disk) => transferDisk(context, disk)).finally(() =>
    context.signal.throwIfAborted(),
  );
}

async function transferDisk(context: Transfer, prepared: PreparedDisk): Promise<CopiedDisk> {
  const { query, reporter, state, runId, logger, signal } = context;
  const { diskId } = prepared;
  const startedMs = performance.now();
  const done = new DoneSoFar();
  let disk = prepared;
  let outcome: CopyOutcome;
  try {
    signal.throwIfAborted();
    await disk.source.nbdkit.wake(signal);
    using writer = new TargetWriter(context, disk, disk.frozen.changeId);
    const result = await copyDisk(context, disk, writer, done).catch(async (error: unknown) => {
      // vSphere lost track of the changes while it was still listing them: all is copied.
      if (!isUnavailable(error)) throw error;
      const plan = await planFullInstead(query, disk, changesUnavailable(error));
      disk = { ...disk, plan };
      announcePlan(disk, reporter.tracker, logger);
      return await copyDisk(context, disk, writer, done);
    });
    outcome = { status: "completed", result };
    reporter.tracker.finishDisk(diskId);
  } catch (error) {
    outcome = { status: signal.aborted ? "interrupted" : "failed", error, done };
    reporter.tracker.stopDisk(diskId, outcome.status);
    if (outcome.status === "failed") logger.error({ disk: diskId }, messageOf(error));
  }
  // Its connections to the ESXi host are closed before those of the next disk are made.
  await disk.source.nbdkit.stop();
  const plannedBytes = reporter.tracker.plannedBytes(diskId);
  const copied = { ...disk, outcome, plannedBytes, durationMs: performance.now() - startedMs };
  reportOnly(logger, `${diskId} is not in the history`, () =>
    state.runs.recordDisk(runId, disk.frozen.key, runDiskOf(copied)),
  );
  return copied;
}

/** Counts what a copy did, for one that fails before the engine gives its own figures. */
class DoneSoFar {
  writtenBytes = 0;
  retries = 0;

  observe(chunks: Float64Array): void {
    for (let i = 0; i + 2 < chunks.length; i += 3) {
      if (chunks[i + 2] === chunkKind.data) this.writtenBytes += chunks[i + 1]!;
    }
  }
}

/**
 * Copies what the plan says, journaling as it goes. Once all is flushed and seen to be there, the change
 * ID becomes true.
 * @throws MigratekitError `source-…`, `target-io`, `target-forgets`, `state-unusable`; the signal's
 *   reason
 */
async function copyDisk(
  context: Transfer,
  disk: PreparedDisk,
  writer: TargetWriter,
  done: DoneSoFar,
): Promise<CopyResult> {
  const { engine, config, logger, signal } = context;
  const { tracker } = context.reporter;
  const { diskId, plan } = disk;
  const checkpoints = beginJournal(context, disk);
  const picker = new SamplePicker(disk.frozen.capacityBytes);
  picker.observeFinished(intersect(plan.finished, plan.plannedAreas ?? plan.finished));
  try {
    const result = await engine.copy({
      ...sidesOf(disk),
      extents: plan.rest
        ? joinPages(plan.extents!, plan.rest, (page) => tracker.extendPlan(diskId, page))
        : plan.extents,
      targetIsZero: disk.targetIsZero && plan.decision.type === "full",
      signal,
      checkpointIntervalMs,
      onChunks: (chunks) => {
        done.observe(chunks);
        picker.observe(chunks);
        checkpoints?.observe(chunks);
        tracker.onChunks(diskId, chunks);
        tracker.setDiskNote(diskId, undefined);
      },
      onCheckpoint: () => {
        writer.onFlush();
        checkpoints?.commit();
      },
      onRetry: (retry) => {
        writer.onRetry(retry);
        done.retries++;
        const note = `${retry.side}: ${retry.message} (attempt ${retry.attempt})`;
        logger.warn({ disk: diskId, ...retry }, `trying again: ${note}`);
        tracker.setDiskNote(diskId, note);
      },
    });
    await shutOutLateWrites(context, disk, writer);
    const remembered = await proveWritten(context, disk, picker);
    if (config.verify) await verifyDisk(context, disk);
    await assertSnapshotThere(context.query);
    await recordChangeId(context, disk, remembered);
    writer.end();
    return result;
  } catch (error) {
    const explained = await explainEngineError(error, disk, disk.source.nbdkit);
    // Nothing more can be read of a snapshot that is gone, whatever VDDK says of it.
    if (isOfSource(explained)) await assertSnapshotThere(context.query);
    throw explained;
  }
}

function isOfSource(error: unknown): boolean {
  return error instanceof MigratekitError && error.exitCode === exitCodes.source;
}

/**
 * When all is flushed: do both sides agree on a part of what was written, and on all that is to be
 * remembered of the target? Over connections made now: a server may keep what it was given for one
 * connection alone, a cache may lose it, somebody else may have written over it. Gives what is to be
 * remembered, pairs [offset, length].
 * @throws MigratekitError `target-forgets`, and then nothing is believed of the target any more;
 *   `state-unusable`; NbdError; the signal's reason
 */
async function proveWritten(
  { engine, identity, state, reporter, signal }: Transfer,
  disk: PreparedDisk,
  written: SamplePicker,
): Promise<Float64Array> {
  const { diskId, frozen, target, plan, record } = disk;
  reporter.tracker.setDiskNote(diskId, "looking again at what was written");
  const telling = await readTellingRanges(target.endpoint, frozen.capacityBytes, signal);
  if (plan.syncType === "incremental") written.keep(record?.samples ?? [], telling);
  const remembered = union(telling, written.data());
  const looked = union(remembered, written.zeroes());
  const offset = await firstDifference(engine, disk, looked, signal);
  reporter.tracker.setDiskNote(diskId, undefined);
  if (offset === undefined) return remembered;
  state.records.distrustDisk(identity, frozen.key);
  throw new MigratekitError(
    "target-forgets",
    `${diskId}: ${target.identity} does not hold what was just written to it: at offset ${offset} it differs from the snapshot`,
    { context: { disk: diskId, offset } },
  );
}

/** `--verify`: reads both sides again, before the change ID becomes true. */
async function verifyDisk(
  { engine, reporter, signal }: Transfer,
  disk: PreparedDisk,
): Promise<void> {
  reporter.tracker.setDiskNote(disk.diskId, "verifying");
  const { differences, differingBytes } = await engine.compare({ ...sidesOf(disk), signal });
  if (differences.length === 0) return;
  throw new MigratekitError(
    "verification-mismatch",
    `${disk.diskId}: ${differingBytes} bytes differ from the snapshot, the first at offset ${differences[0]}`,
    { remedy: "Run again with --full, and look into the target's storage." },
  );
}
