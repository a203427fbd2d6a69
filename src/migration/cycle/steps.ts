/** The steps of a cycle that have more than one line to them. */
import type { Config } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import { type CopyResult, Engine } from "../../nbd/copy-engine/copy-engine.ts";
import { inspectNbdkit, type NbdkitInspection } from "../../nbd/nbdkit/inspect.ts";
import { intersect, totalBytes } from "../../ranges.ts";
import type { Run } from "../vm/run.ts";
import { diskIdOf } from "../vm/site.ts";
import type { UndoStack } from "../vm/undo.ts";
import { copyDisk } from "./copy.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import {
  type AreaQuery,
  type CopyPlan,
  changesUnavailable,
  isUnavailable,
  planFullInstead,
} from "./plan.ts";
import { dropSnapshot, type RunSnapshot, removeLeftovers, takeSnapshot } from "./snapshot.ts";
import { guardTarget, type PreparedDisk, startSource } from "./source.ts";
import { type DiskOutcome, type DiskSummary, summarizeDisk } from "./summary.ts";

export interface OwnSnapshot extends RunSnapshot {
  /** Removes it; a second call gives the first one's outcome. */
  remove(): Promise<undefined>;
}

export function openEngine(config: Config): Engine {
  return new Engine({ maxBytesPerSecond: config.maxRate });
}

export function areaQuery(run: Run, snapshot: RunSnapshot): AreaQuery {
  return {
    client: run.site.client,
    vmMoref: run.site.vm.moref,
    snapshotMoref: snapshot.moref,
    logger: run.logger,
    signal: run.signal,
  };
}

/** Is everything there that reading a disk takes? Asked once, before the VM is touched. */
export async function inspectSource({ config, signal }: Run): Promise<NbdkitInspection> {
  return await inspectNbdkit({
    nbdkit: config.nbdkit,
    plugin: config.vddkPlugin,
    libdir: config.vddkLibdir,
    signal,
  });
}

/** Turns changed block tracking on where it is off; it takes effect with the next snapshot. */
export async function enableChangeTracking(run: Run): Promise<void> {
  const { vm, client } = run.site;
  if (!vm.changeTrackingSupported) {
    run.logger.warn(
      { hardwareVersion: vm.hardwareVersion },
      "the VM cannot track changed blocks (hardware version 7 or newer can): every run copies all",
    );
    return;
  }
  if (vm.changeTrackingEnabled) return;
  run.logger.info("turning on changed block tracking");
  await client.enableChangeTracking(vm.moref, run.signal);
}

/** Leftovers go first, then the new snapshot; its removal is on the undo stack from the start. */
export async function snapshotVm(run: Run, undo: UndoStack): Promise<OwnSnapshot> {
  const { runs, identity, logger, signal, site, runId, reporter, config } = run;
  const vmMoref = site.vm.moref;
  const dead = runs.runsWithLeftoverSnapshots(identity, run.lock).map((dead) => dead.runId);
  for (const gone of runs.deadRuns(identity, run.lock)) {
    runs.finishRun(gone.runId, { status: "died" });
  }
  const leftovers = { client: site.client, vmMoref, deadRunIds: new Set(dead), logger };
  await removeLeftovers({ ...leftovers, signal }, runs);

  const dropAll = async () => {
    await dropSnapshot(site.client, vmMoref, runId, runs, logger);
    // A dead run's snapshot may only have been in the making before; a VM's tasks go one after
    // another, so by now it is there.
    if (dead.length > 0) await removeLeftovers(leftovers, runs);
    return undefined;
  };
  let removal: Promise<undefined> | undefined;
  const remove = () => (removal ??= dropAll());
  undo.defer("remove the snapshot", remove);
  const snapshot = await takeSnapshot(site.client, vmMoref, runId, runs, {
    quiesce: config.quiesceSnapshot && site.vm.powerState === "poweredOn",
    signal,
    onProgress: (percent) => reporter.stage("Snapshot", `${percent} %`),
  });
  for (const disk of snapshot.disks) {
    if (disk.changeId === undefined && site.vm.changeTrackingSupported) {
      logger.warn(
        { disk: diskIdOf(disk) },
        "the disk has no change ID although tracking is on for the VM: it is copied in full each time",
      );
    }
  }
  return { ...snapshot, remove };
}

/** Opens the source, proves the target, and says what will be copied. */
export async function prepareDisk(
  run: Run,
  snapshotMoref: string,
  query: AreaQuery,
  engine: Engine,
  exports: UndoStack,
  disk: CycleDisk,
  plan: CopyPlan,
  inspection: NbdkitInspection,
): Promise<PreparedDisk> {
  const source = await startSource(run, snapshotMoref, disk, inspection);
  exports.defer(`stop nbdkit of ${disk.diskId}`, () => source.stop());
  const prepared: PreparedDisk = { disk, plan, source };
  await guardTarget(prepared, query, engine, {
    onMismatch: run.config.onTargetMismatch,
    sourceConnections: run.config.sourceConnections,
  });
  announce(run, prepared);
  return prepared;
}

function announce(run: Run, { disk, plan }: PreparedDisk): void {
  run.logger.info(
    {
      disk: disk.diskId,
      syncType: plan.syncType,
      reason: plan.reason,
      plannedBytes: totalBytes(plan.plannedAreas ?? Float64Array.of(0, disk.frozen.capacityBytes)),
      target: disk.targetFacts.uri,
    },
    `${disk.diskId}: ${plan.decision.type} copy, because ${plan.reason}`,
  );
  run.reporter.tracker.addDisk({
    diskId: disk.diskId,
    syncType: plan.syncType,
    plannedAreas: plan.plannedAreas,
    capacityBytes: disk.frozen.capacityBytes,
    alreadyDoneBytes: totalBytes(
      plan.plannedAreas ? intersect(plan.plannedAreas, plan.finished) : plan.finished,
    ),
    reason: plan.reason,
  });
}

export interface TransferOutcome {
  readonly disk: CycleDisk;
  readonly summary: DiskSummary;
  readonly error?: unknown;
}

/** Copies all disks, some at a time. A disk that fails does not stop the others. */
export async function transfer(
  run: Run,
  engine: Engine,
  query: AreaQuery,
  prepared: readonly PreparedDisk[],
): Promise<TransferOutcome[]> {
  const results = await mapLimited(prepared, run.config.parallelDisks, (one) =>
    transferDisk(run, engine, query, one),
  );
  run.signal.throwIfAborted();
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

async function transferDisk(
  run: Run,
  engine: Engine,
  query: AreaQuery,
  prepared: PreparedDisk,
): Promise<TransferOutcome> {
  const { disk, source } = prepared;
  const startedMs = performance.now();
  let outcome: DiskOutcome;
  let error: unknown;
  try {
    run.signal.throwIfAborted();
    outcome = { status: "completed", result: await copyOrStartOver(run, engine, query, prepared) };
    run.reporter.tracker.finishDisk(disk.diskId);
  } catch (caught) {
    error = caught;
    const status = run.signal.aborted ? "interrupted" : "failed";
    outcome = { status, error: messageOf(caught) };
    if (status === "failed") run.logger.error({ disk: disk.diskId }, outcome.error);
  }
  // Its connections to the ESXi host are closed before those of the next disk are made.
  await source.stop();
  const plannedBytes = run.reporter.tracker.plannedBytes(disk.diskId);
  const durationMs = performance.now() - startedMs;
  const summary = summarizeDisk(disk, prepared.plan, outcome, plannedBytes, durationMs);
  recordDisk(run, disk, summary);
  return { disk, summary, ...(error === undefined ? {} : { error }) };
}

/** When vSphere loses track of the changes while it is still listing them, all is copied. */
async function copyOrStartOver(
  run: Run,
  engine: Engine,
  query: AreaQuery,
  prepared: PreparedDisk,
): Promise<CopyResult> {
  const { disk, source } = prepared;
  try {
    return await copyDisk(run, engine, disk, prepared.plan, source);
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    prepared.plan = await planFullInstead(query, disk, changesUnavailable(error));
    announce(run, prepared);
    return await copyDisk(run, engine, disk, prepared.plan, source);
  }
}

function recordDisk(run: Run, disk: CycleDisk, summary: DiskSummary): void {
  run.runs.recordDisk(run.runId, disk.frozen.key, {
    syncType: summary.sync_type,
    resumed: summary.resumed,
    reason: summary.reason,
    capacityBytes: summary.capacity_bytes,
    plannedBytes: summary.planned_bytes,
    copiedBytes: summary.copied_bytes,
    zeroedBytes: summary.zeroed_bytes,
    skippedBytes: summary.skipped_bytes,
    retries: summary.retries,
    durationMs: summary.duration_ms,
    finished: summary.status === "completed",
  });
}
