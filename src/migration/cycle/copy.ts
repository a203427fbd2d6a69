/** The copy of a run's disks: engine, journal, checkpoints, and what became of each. */
import type { Config } from "../../config.ts";
import type { Verification } from "../../ending.ts";
import { exitCodes, MigratekitError, messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { digestRanges, type Engine } from "../../nbd/copy-engine/copy-engine.ts";
import { intersect, union, whole } from "../../ranges.ts";
import { reportOnly } from "../../report-only.ts";
import type { State } from "../../state/state.ts";
import type { RunAccount } from "../account/account.ts";
import { type CopiedDisk, type CopyOutcome, type PreparedDisk, sidesOf } from "../disk.ts";
import type { RunLease } from "../lease.ts";
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
import { runDiskOf, summarizeDisk } from "./summary.ts";

/** How often what is copied becomes durable; so much copying is lost at most by a death. */
const checkpointIntervalMs = 1000;

/** What the copies of all disks of a run share. */
export interface Transfer extends JournalContext {
  readonly engine: Engine;
  /** Should vSphere lose track of the changes while it lists them. */
  readonly query: AreaQuery;
  readonly state: State;
  readonly reporter: Reporter;
  readonly account: RunAccount;
  readonly config: Pick<Config, "verify" | "changeIdJob" | "targetDropTime">;
  readonly lease?: RunLease;
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
  let disk = prepared;
  let verification: Verification | undefined;
  let outcome: CopyOutcome;
  try {
    signal.throwIfAborted();
    await disk.source.nbdkit.wake(signal);
    using writer = new TargetWriter(context, disk, disk.frozen.changeId);
    verification = await copyDisk(context, disk, writer).catch(async (error: unknown) => {
      // vSphere lost track of the changes while it was still listing them: all is copied.
      if (!isUnavailable(error)) throw error;
      const plan = await planFullInstead(query, disk, changesUnavailable(error));
      disk = { ...disk, plan };
      announcePlan(disk, reporter.tracker, logger);
      return await copyDisk(context, disk, writer);
    });
    outcome = { status: "completed" };
    reporter.tracker.finishDisk(diskId);
  } catch (error) {
    outcome = { status: signal.aborted ? "interrupted" : "failed", error };
    if (error instanceof Mismatch) verification = error.verification;
    reporter.tracker.stopDisk(diskId, outcome.status);
    if (outcome.status === "failed") logger.error({ disk: diskId }, messageOf(error));
  }
  // Its connections to the ESXi host are closed before those of the next disk are made.
  await disk.source.nbdkit.stop();
  const plannedBytes = reporter.tracker.plannedBytes(diskId);
  const durationMs = performance.now() - startedMs;
  const copied = { ...disk, outcome, verification, plannedBytes, durationMs };
  const ending = summarizeDisk(copied);
  context.account.disk(ending);
  context.account.copied(disk.tally);
  reportOnly(logger, `${diskId} is not in the history`, () =>
    state.runs.recordDisk(runId, disk.frozen.key, runDiskOf(ending)),
  );
  return copied;
}

/**
 * Copies what the plan says, journaling as it goes. Once all is flushed and seen to be there, the change
 * ID becomes true. Gives what `--verify` found.
 * @throws MigratekitError `source-…`, `target-io`, `target-forgets`, `state-unusable`; the signal's
 *   reason
 */
async function copyDisk(
  context: Transfer,
  disk: PreparedDisk,
  writer: TargetWriter,
): Promise<Verification | undefined> {
  const { engine, config, logger, signal, lease } = context;
  const { tracker } = context.reporter;
  const { diskId, plan } = disk;
  const checkpoints = beginJournal(context, disk);
  await lease?.barrier(`the first byte of ${diskId}`);
  const picker = new SamplePicker(disk.frozen.capacityBytes);
  picker.observeFinished(intersect(plan.finished, plan.plannedAreas ?? plan.finished));
  try {
    await engine.copy({
      ...sidesOf(disk),
      onFigures: disk.tally.copied,
      extents: plan.rest
        ? joinPages(plan.extents!, plan.rest, (page) => tracker.extendPlan(diskId, page))
        : plan.extents,
      targetIsZero: disk.targetIsZero && plan.decision.type === "full",
      signal,
      checkpointIntervalMs,
      onChunks: (chunks) => {
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
        const note = `${retry.side}: ${retry.message} (attempt ${retry.attempt})`;
        logger.warn({ disk: diskId, ...retry }, `trying again: ${note}`);
        tracker.setDiskNote(diskId, note);
      },
    });
    await shutOutLateWrites(context, disk, writer);
    const remembered = await proveWritten(context, disk, picker);
    const verification = config.verify ? await verifyDisk(context, disk) : undefined;
    await assertSnapshotThere(context.query);
    await recordChangeId(context, disk, remembered);
    writer.end();
    await lease?.barrier(`the end of ${diskId}`);
    return verification;
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

/** A `--verify` that found differences: what it found is told as well. */
class Mismatch extends MigratekitError {
  readonly verification: Verification;

  constructor(message: string, verification: Verification) {
    const remedy = "Run again with --full, and look into the target's storage.";
    super("verification-mismatch", message, { remedy });
    this.verification = verification;
  }
}

/**
 * `--verify`: reads both sides again, before the change ID becomes true, and beside it the target alone for
 * its digest, which anybody can check.
 * @throws MigratekitError `verification-mismatch`; NbdError; the signal's reason
 */
async function verifyDisk(
  { engine, reporter, signal }: Transfer,
  disk: PreparedDisk,
): Promise<Verification> {
  const { diskId, frozen, target, tally } = disk;
  reporter.tracker.setDiskNote(diskId, "verifying");
  const startedMs = performance.now();
  const controller = new AbortController();
  const digesting = digestRanges(target.endpoint, whole(frozen.capacityBytes), {
    signal: AbortSignal.any([signal, controller.signal]),
  }).catch((error: unknown) => ({ error }));
  try {
    const found = await engine.compare({ ...sidesOf(disk), signal, onFigures: tally.compared });
    const verification: Verification = {
      result: found.differences.length === 0 ? "equal" : "different",
      compared: "the whole disk with its snapshot",
      compared_bytes: found.comparedBytes,
      differing_bytes: found.differingBytes,
      duration_ms: Math.round(performance.now() - startedMs),
    };
    if (verification.result === "different") {
      const first = found.differences[0];
      const message = `${diskId}: ${found.differingBytes} bytes differ from the snapshot, the first at offset ${first}`;
      throw new Mismatch(message, verification);
    }
    const digests = await digesting;
    if ("error" in digests) throw digests.error;
    const duration_ms = Math.round(performance.now() - startedMs);
    return { ...verification, digest: `sha256:${digests[0]}`, duration_ms };
  } finally {
    controller.abort();
    await digesting;
  }
}
