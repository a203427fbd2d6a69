/** The copy of one disk: engine, journal, samples, record. */
import { MigratekitError, messageOf } from "../../errors.ts";
import { type CopyResult, chunkKind, type Engine } from "../../nbd/copy-engine/copy-engine.ts";
import type { NbdkitExport } from "../../nbd/nbdkit/nbdkit.ts";
import { normalize } from "../../ranges.ts";
import type { Run } from "../vm/run.ts";
import { joinPages } from "./areas.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import { explainCopyError } from "./engine-errors.ts";
import { takeSamples, untouchedSamples } from "./guard.ts";
import type { CopyPlan } from "./plan.ts";
import { SamplePicker } from "./samples.ts";

/** How often what is copied becomes durable; so much copying is lost at most by a death. */
const checkpointIntervalMs = 1000;

/**
 * Copies what the plan says, journaling as it goes, and stores the change ID once all is flushed.
 * @throws MigratekitError `source-…`, `target-io`, `state-unusable`; the signal's reason
 */
export async function copyDisk(
  run: Run,
  engine: Engine,
  disk: CycleDisk,
  plan: CopyPlan,
  source: NbdkitExport,
): Promise<CopyResult> {
  const checkpoints = beginJournal(run, disk, plan);
  const picker = new SamplePicker(disk.frozen.capacityBytes);
  const { logger, signal, config } = run;
  const { tracker } = run.reporter;
  try {
    const result = await engine.copy({
      source: { uri: source.uri, connections: config.sourceConnections },
      target: disk.target,
      capacityBytes: disk.frozen.capacityBytes,
      extents: plan.rest
        ? joinPages(plan.extents!, plan.rest, (page) => tracker.extendPlan(disk.diskId, page))
        : plan.extents,
      targetIsZero: disk.targetIsZero && plan.decision.type === "full",
      signal,
      checkpointIntervalMs,
      onChunks: (chunks) => {
        picker.observe(chunks);
        checkpoints?.observe(chunks);
        tracker.onChunks(disk.diskId, chunks);
        tracker.setDiskNote(disk.diskId, undefined);
      },
      onCheckpoint: () => checkpoints?.commit(),
      onRetry: (retry) => {
        const note = `${retry.side}: ${retry.message} (attempt ${retry.attempt})`;
        logger.warn({ disk: disk.diskId, ...retry }, `trying again: ${note}`);
        tracker.setDiskNote(disk.diskId, note);
      },
    });
    if (config.verify) await verifyDisk(run, engine, disk, source);
    await storeRecord(run, disk, plan, picker);
    return result;
  } catch (error) {
    throw explainCopyError(
      error,
      disk.diskId,
      disk.targetFacts.uri,
      await source.findRootCause(error),
    );
  }
}

/** From here on the record of the target's content is void until the copy ends. */
function beginJournal(run: Run, disk: CycleDisk, plan: CopyPlan): Checkpoints | undefined {
  const { changeId, capacityBytes, key } = disk.frozen;
  if (changeId === undefined) {
    run.records.forgetDisk(run.identity, key);
    return undefined;
  }
  const { decision } = plan;
  run.journals.startJournal(
    run.identity,
    key,
    {
      mode: plan.syncType,
      baseChangeId: changeId,
      ...(decision.type !== "full" && decision.since !== undefined
        ? { fromChangeId: decision.since }
        : {}),
      capacityBytes,
      targetUri: disk.targetFacts.uri,
      targetSizeBytes: disk.targetFacts.sizeBytes,
      startedAt: new Date().toISOString(),
      runId: run.runId,
    },
    plan.finished,
    decision.type === "resume" ? untouchedSamples(disk.journalSamples, plan.extents!) : [],
  );
  return new Checkpoints(run, disk);
}

/**
 * Journals ranges at each flush. A journal that cannot be written (disk full) does not stop the
 * copy: the ranges wait for the next checkpoint, and a death in between costs copying, not data.
 */
class Checkpoints {
  readonly #run: Run;
  readonly #disk: CycleDisk;
  #pending: number[] = [];
  #sampleFrom: { offset: number; length: number } | undefined;
  #sampling = false;
  #warned = false;

  constructor(run: Run, disk: CycleDisk) {
    this.#run = run;
    this.#disk = disk;
  }

  observe(chunks: Float64Array): void {
    for (let i = 0; i + 2 < chunks.length; i += 3) {
      this.#pending.push(chunks[i]!, chunks[i + 1]!);
      if (chunks[i + 2] === chunkKind.data)
        this.#sampleFrom = { offset: chunks[i]!, length: chunks[i + 1]! };
    }
  }

  commit(): void {
    const ranges = normalize(Float64Array.from(this.#pending));
    if (ranges.length === 0) return;
    try {
      this.#append(ranges, []);
      this.#pending = [];
    } catch (error) {
      this.#pending = [...ranges];
      if (!this.#warned) {
        this.#run.logger.warn(
          { disk: this.#disk.diskId },
          `the resume journal cannot be written: ${messageOf(error)}; the copy goes on`,
        );
      }
      this.#warned = true;
      return;
    }
    void this.#sample();
  }

  /** One digest of a finished range for each checkpoint: the guard of a later resume. */
  async #sample(): Promise<void> {
    const from = this.#sampleFrom;
    if (from === undefined || this.#sampling) return;
    this.#sampling = true;
    this.#sampleFrom = undefined;
    try {
      const range = Float64Array.of(from.offset, Math.min(from.length, 65_536));
      const samples = await takeSamples(this.#disk.target, range, this.#run.signal);
      this.#append(new Float64Array(0), samples);
    } catch (error) {
      this.#run.logger.debug({ disk: this.#disk.diskId }, `no sample: ${messageOf(error)}`);
    } finally {
      this.#sampling = false;
    }
  }

  #append(ranges: Float64Array, samples: Awaited<ReturnType<typeof takeSamples>>): void {
    this.#run.journals.appendFinished(this.#run.identity, this.#disk.frozen.key, ranges, samples);
  }
}

/** `--verify`: reads both sides again, before the change ID becomes true. */
async function verifyDisk(
  run: Run,
  engine: Engine,
  disk: CycleDisk,
  source: NbdkitExport,
): Promise<void> {
  run.reporter.tracker.setDiskNote(disk.diskId, "verifying");
  const { differences, differingBytes } = await engine.compare({
    source: { uri: source.uri, connections: run.config.sourceConnections },
    target: disk.target,
    capacityBytes: disk.frozen.capacityBytes,
    signal: run.signal,
  });
  if (differences.length === 0) return;
  throw new MigratekitError(
    "verification-mismatch",
    `${disk.diskId}: ${differingBytes} bytes differ from the snapshot, the first at offset ${differences[0]}`,
    { remedy: "Run again with --full, and look into the target's storage." },
  );
}

/** The one place where a change ID becomes true: everything is flushed by now. */
async function storeRecord(
  run: Run,
  disk: CycleDisk,
  plan: CopyPlan,
  picker: SamplePicker,
): Promise<void> {
  const { changeId, capacityBytes, key } = disk.frozen;
  if (changeId === undefined) return;
  picker.keep(plan.syncType === "incremental" ? disk.recordSamples : []);
  picker.keep(disk.journalSamples);
  const samples = await takeSamples(disk.target, picker.ranges(), run.signal);
  run.records.writeDiskRecord(run.identity, {
    deviceKey: key,
    changeId,
    capacityBytes,
    targetUri: disk.targetFacts.uri,
    targetSizeBytes: disk.targetFacts.sizeBytes,
    syncedAt: new Date().toISOString(),
    samples,
    // A death before the OMA API has it must not lose it: the next run delivers it.
    ...(run.config.changeIdJob === undefined
      ? {}
      : { pendingUpload: { previousChangeId: disk.known.storedChangeId } }),
  });
}
