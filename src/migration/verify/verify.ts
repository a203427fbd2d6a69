/** Verification of a VM's targets: a snapshot, a comparison of what must be equal, a repair if asked. */
import type { Logger } from "pino";
import type { DiskEnding } from "../../ending.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import type { ProgressTracker } from "../../progress/progress.ts";
import { totalBytes } from "../../ranges.ts";
import { UndoStack } from "../../undo.ts";
import { openChangeIdStore, readChangeIds } from "../cycle/change-ids.ts";
import { claimVm, snapshotVm } from "../cycle/snapshot.ts";
import { inspectSource, snapshotSource, startSource } from "../cycle/source.ts";
import { freezeDisk } from "../disk.ts";
import { openEngine } from "../engine.ts";
import type { CycleContext } from "../vm/held-vm.ts";
import { reserveConnections } from "../vm/host-connections.ts";
import { diskTarget, holdTargets } from "../vm/ownership.ts";
import { type Run, vmOfRun, withRun } from "../vm/run.ts";
import { watchSpace } from "../vm/space.ts";
import { findDisks } from "../vm/targets.ts";
import { withVm } from "../vm/vm.ts";
import {
  type Comparing,
  type Comparison,
  compareDisk,
  nothingFound,
  type PlannedComparison,
  planComparison,
  type ServedComparison,
} from "./compare.ts";
import {
  type DiskVerification,
  type VerifySummary,
  verdict,
  verificationOf,
  verifiedEnding,
} from "./summary.ts";

/**
 * Compares every target with the VM as it is now. `onSummary` is told the result before anything
 * is made an error of it.
 * @throws MigratekitError `verification-mismatch` for what differs and was not repaired,
 *   `verification-impossible` where nothing is known, or of any other class; the signal's reason
 */
export async function runVerification(
  context: CycleContext,
  onSummary: (summary: VerifySummary) => void,
): Promise<VerifySummary> {
  // A configuration file shared with `migrate` may ask for things that are not for a comparison.
  const config = { ...context.config, full: false, targetIsZero: false, takeOverTarget: false };
  return await withVm({ ...context, config }, (held) =>
    withRun(held, async (run, undo) => {
      const { summary, error } = await verifyVm(run, undo);
      onSummary(summary);
      const failure = error ?? verdict(summary.disks);
      if (failure !== undefined) throw failure;
      return summary;
    }),
  );
}

/** The same of a VM that is held, for a run of its own; an error beside the summary is not thrown. */
export async function verifyVm(
  given: Run,
  undo: UndoStack,
): Promise<{ summary: VerifySummary; error?: unknown }> {
  const run = { ...given, signal: await watchSpace(given, undo) };
  const { config, reporter, site, identity, state, runId, logger, signal } = run;
  const startedMs = performance.now();
  const inspection = await inspectSource(run);
  const found = await findDisks(run, undo);
  if (config.repair) await holdTargets(run, found);
  const { parallelDisks, sourceConnections } = await reserveConnections(run, found, undo);
  const keys = found.map(({ disk }) => disk.key);
  const changeIds = await readChangeIds(openChangeIdStore(run), identity, keys, {
    full: false,
    logger,
    signal,
  });

  reporter.stage("Snapshot");
  const deadRunIds = await claimVm(run);
  const snapshot = await snapshotVm(run, deadRunIds, undo);

  reporter.stage("QueryCBT");
  const poweredOff = site.vm.powerState === "poweredOff";
  const planned: PlannedComparison[] = [];
  for (const disk of found) {
    const frozen = freezeDisk(disk, snapshot.disks, { ...run, changeIds });
    const { sample } = config;
    const comparison = await planComparison(snapshot.query, frozen, { poweredOff, sample });
    planned.push({ ...frozen, comparison });
    if (config.repair) {
      checkRepair({ ...frozen, comparison });
      state.targets.claim(identity, diskTarget(disk), runId);
    }
  }

  reporter.stage("StartExports");
  const engine = undo.use("stop the copy engine", openEngine(config, logger));
  const exports = undo.use("stop nbdkit", new UndoStack(logger));
  const from = snapshotSource(run, snapshot.moref, inspection, sourceConnections, exports);
  const ready: (PlannedComparison | ServedComparison)[] = [];
  for (const disk of planned) {
    const needed = disk.comparison.expected.length > 0;
    const source = needed ? await startSource(from, disk) : undefined;
    ready.push(source ? { ...disk, source } : disk);
    // As many nbdkit stay as disks are compared at a time; the others are started again in their turn.
    if (ready.length > parallelDisks) await source?.nbdkit.rest();
    announceComparison(disk, reporter.tracker, logger);
    const nothingYet = verificationOf(disk, nothingFound, 0);
    run.account.disk(verifiedEnding(disk, nothingYet, "not_started"));
  }

  reporter.stage("Transfer");
  const outcomes = await mapLimited(ready, parallelDisks, (disk) =>
    verifyDisk({ ...run, engine }, disk),
  ).finally(() => signal.throwIfAborted());

  reporter.stage("Finalize");
  await exports.unwind();
  const removal = await snapshot.remove().catch((error: unknown) => ({ error }));
  const error = outcomes.find((outcome) => outcome.error !== undefined)?.error ?? removal?.error;
  const summary = {
    vm: vmOfRun({ site, identity }),
    run_id: runId,
    sampled: config.sample,
    quiesced: snapshot.quiesced,
    duration_ms: Math.round(performance.now() - startedMs),
    disks: outcomes.map((outcome) => outcome.verification),
  };
  return { summary, ...(error === undefined ? {} : { error }) };
}

/** A repair writes, so it wants to be sure of its target. @throws MigratekitError `target-mismatch` */
function checkRepair({ diskId, comparison: { basis } }: PlannedComparison): void {
  if (basis.type !== "unchanged" || !basis.otherTarget) return;
  throw new MigratekitError(
    "target-mismatch",
    `${diskId} is not repaired on a target that it was never copied to: ${basis.reason}`,
    { remedy: "Give the target of the last run, or copy to this one with 'migratekit migrate'." },
  );
}

function announceComparison(
  { diskId, target, frozen, comparison }: PlannedComparison,
  tracker: ProgressTracker,
  logger: Logger,
): void {
  const { basis, expected, newer } = comparison;
  const amounts = { comparedBytes: totalBytes(expected), newerBytes: totalBytes(newer) };
  logger.info({ disk: diskId, ...amounts, target: target.identity }, `${diskId}: ${basis.reason}`);
  tracker.addDisk({
    diskId,
    syncType: basis.type === "unchanged" ? "incremental" : "full",
    plannedAreas: expected,
    capacityBytes: frozen.capacityBytes,
    reason: basis.reason,
    doing: "comparing",
  });
}

/** A disk whose comparison fails does not stop the others. */
async function verifyDisk(
  context: Comparing & Pick<Run, "account">,
  disk: PlannedComparison | ServedComparison,
): Promise<{ verification: DiskVerification; error?: unknown }> {
  const { reporter, logger, signal } = context;
  signal.throwIfAborted();
  const startedMs = performance.now();
  const told = (found: Comparison | { readonly error: unknown }, status: DiskEnding["status"]) => {
    const verification = verificationOf(disk, found, performance.now() - startedMs);
    context.account.disk(verifiedEnding(disk, verification, status));
    context.account.copied(disk.tally);
    return verification;
  };
  try {
    if ("source" in disk) await disk.source.nbdkit.wake(signal);
    const found = "source" in disk ? await compareDisk(context, disk) : nothingFound;
    reporter.tracker.finishDisk(disk.diskId);
    return { verification: told(found, "completed") };
  } catch (error) {
    const status = signal.aborted ? "interrupted" : "failed";
    reporter.tracker.stopDisk(disk.diskId, status);
    const verification = told({ error }, status);
    if (signal.aborted) throw error;
    logger.error({ disk: disk.diskId }, messageOf(error));
    return { verification, error };
  } finally {
    // Its connections to the ESXi host are closed before those of the next disk are made.
    if ("source" in disk) await disk.source.nbdkit.stop();
  }
}
