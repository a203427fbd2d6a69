/** Verification of a VM's targets: a snapshot, a comparison of what must be equal, a repair if asked. */
import { MigratekitError, messageOf } from "../../errors.ts";
import { mapLimited } from "../../map-limited.ts";
import type { Engine } from "../../nbd/copy-engine/copy-engine.ts";
import type { NbdkitExport } from "../../nbd/nbdkit/nbdkit.ts";
import { totalBytes } from "../../ranges.ts";
import { openChangeIdStore, readChangeIds } from "../cycle/change-ids.ts";
import type { CycleDisk } from "../cycle/cycle-disk.ts";
import { assembleDisk } from "../cycle/known-disk.ts";
import { startSource } from "../cycle/source.ts";
import { areaQuery, inspectSource, openEngine, snapshotVm } from "../cycle/steps.ts";
import type { CycleContext, Run } from "../vm/run.ts";
import { reserveConnections } from "../vm/shared.ts";
import { resolveTargets } from "../vm/targets.ts";
import { UndoStack } from "../vm/undo.ts";
import { withRun, withVm } from "../vm/vm.ts";
import {
  type Comparison,
  type ComparisonPlan,
  compareDisk,
  listedMax,
  planComparison,
} from "./compare.ts";

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What became of one disk; part of `--json`, so names and units are an interface. */
export interface DiskVerification {
  readonly disk_id: string;
  readonly target: string;
  readonly status: "equal" | "different" | "repaired" | "unverifiable" | "failed";
  /** What was compared with what, or why nothing could be. */
  readonly reason: string;
  readonly error?: string;
  readonly capacity_bytes: number;
  readonly compared_bytes: number;
  readonly differing_bytes: number;
  readonly repaired_bytes: number;
  /** In steps of 512 bytes, the lowest first, at most 1000. */
  readonly differences: readonly ByteRange[];
  readonly differences_truncated: boolean;
  /** What the VM wrote since the last sync: no difference, the next sync brings it. */
  readonly newer_bytes: number;
  readonly newer: readonly ByteRange[];
  readonly duration_ms: number;
}

export interface VerifySummary {
  readonly vm: { readonly path: string; readonly moref: string; readonly instance_uuid: string };
  readonly run_id: string;
  readonly sampled: boolean;
  readonly quiesced: boolean;
  readonly duration_ms: number;
  readonly disks: readonly DiskVerification[];
}

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
  const config = { ...context.config, full: false, targetIsZero: false };
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

/** What the exit code speaks of; a difference weighs more than a disk that nothing is known of. */
function verdict(disks: readonly DiskVerification[]): MigratekitError | undefined {
  const different = disks.find((disk) => disk.status === "different");
  if (different) {
    const { disk_id, differing_bytes, differences } = different;
    return new MigratekitError(
      "verification-mismatch",
      `${disk_id}: ${differing_bytes} bytes differ from the snapshot, the first at offset ${differences[0]?.offset}`,
      { context: { disk: disk_id, offset: differences[0]?.offset } },
    );
  }
  const unknown = disks.find((disk) => disk.status === "unverifiable");
  if (!unknown) return undefined;
  return new MigratekitError(
    "verification-impossible",
    `${unknown.disk_id} cannot be verified: ${unknown.reason}`,
    { context: { disk: unknown.disk_id } },
  );
}

async function verifyVm(
  found: Run,
  undo: UndoStack,
): Promise<{ summary: VerifySummary; error?: unknown }> {
  const startedMs = performance.now();
  const inspection = await inspectSource(found);
  const targets = await resolveTargets(found, undo);
  const run = await reserveConnections(found, targets.length, undo);
  const { config, reporter, site } = run;
  const store = openChangeIdStore(config, run.state, run.records, run.logger);
  const keys = targets.map(({ disk }) => disk.key);
  const changeIds = await readChangeIds(store, run.identity, keys, { ...run, full: false });

  reporter.stage("Snapshot");
  const snapshot = await snapshotVm(run, undo);

  reporter.stage("QueryCBT");
  const query = areaQuery(run, snapshot);
  const planned = [];
  for (const target of targets) {
    const disk = assembleDisk(run, snapshot, target, changeIds.get(target.disk.key));
    const plan = await planComparison(run, query, disk);
    checkRepair(run, disk, plan);
    planned.push({ disk, plan });
  }

  reporter.stage("StartExports");
  const engine = undo.use("stop the copy engine", openEngine(config));
  const exports = undo.use("stop nbdkit", new UndoStack(run.logger));
  const ready: { disk: CycleDisk; plan: ComparisonPlan; source: NbdkitExport | undefined }[] = [];
  for (const { disk, plan } of planned) {
    const needed = plan.expected.length > 0;
    const source = needed ? await startSource(run, snapshot.moref, disk, inspection) : undefined;
    if (source) exports.defer(`stop nbdkit of ${disk.diskId}`, () => source.stop());
    announce(run, disk, plan);
    ready.push({ disk, plan, source });
  }

  reporter.stage("Transfer");
  const results = await mapLimited(ready, config.parallelDisks, ({ disk, plan, source }) =>
    verifyDisk(run, engine, disk, plan, source),
  );
  run.signal.throwIfAborted();
  const outcomes = results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });

  reporter.stage("Finalize");
  await exports.unwind();
  const removal = await snapshot.remove().catch((error: unknown) => ({ error }));
  const error = outcomes.find((outcome) => outcome.error !== undefined)?.error ?? removal?.error;
  const summary = {
    vm: { path: site.vmPath, moref: site.vm.moref, instance_uuid: site.vm.instanceUuid },
    run_id: run.runId,
    sampled: config.sample,
    quiesced: snapshot.quiesced,
    duration_ms: Math.round(performance.now() - startedMs),
    disks: outcomes.map((outcome) => outcome.verification),
  };
  return { summary, ...(error === undefined ? {} : { error }) };
}

/** A repair writes, so it wants to be sure of its target. */
function checkRepair(run: Run, disk: CycleDisk, { basis }: ComparisonPlan): void {
  if (!run.config.repair || basis.type !== "unchanged" || !basis.otherTarget) return;
  throw new MigratekitError(
    "target-mismatch",
    `${disk.diskId} is not repaired on a target that it was never copied to: ${basis.reason}`,
    { remedy: "Give the target of the last run, or copy to this one with 'migratekit migrate'." },
  );
}

function announce(run: Run, disk: CycleDisk, { basis, expected, newer }: ComparisonPlan): void {
  run.logger.info(
    {
      disk: disk.diskId,
      comparedBytes: totalBytes(expected),
      newerBytes: totalBytes(newer),
      target: disk.targetFacts.uri,
    },
    `${disk.diskId}: ${basis.reason}`,
  );
  run.reporter.tracker.addDisk({
    diskId: disk.diskId,
    syncType: basis.type === "unchanged" ? "incremental" : "full",
    plannedAreas: expected,
    capacityBytes: disk.frozen.capacityBytes,
    reason: basis.reason,
  });
}

/** A disk whose comparison fails does not stop the others. */
async function verifyDisk(
  run: Run,
  engine: Engine,
  disk: CycleDisk,
  plan: ComparisonPlan,
  source: NbdkitExport | undefined,
): Promise<{ verification: DiskVerification; error?: unknown }> {
  run.signal.throwIfAborted();
  const startedMs = performance.now();
  const describe = (found: Comparison, status: DiskVerification["status"]) =>
    verificationOf(disk, plan, found, status, performance.now() - startedMs);
  try {
    const found = source ? await compareDisk(run, engine, disk, plan, source) : nothingFound;
    run.reporter.tracker.finishDisk(disk.diskId);
    return { verification: describe(found, statusOf(plan, found)) };
  } catch (error) {
    if (run.signal.aborted) throw error;
    run.logger.error({ disk: disk.diskId }, messageOf(error));
    const verification = { ...describe(nothingFound, "failed"), error: messageOf(error) };
    return { verification, error };
  } finally {
    // Its connections to the ESXi host are closed before those of the next disk are made.
    await source?.stop();
  }
}

const nothingFound: Comparison = {
  comparedBytes: 0,
  differences: new Float64Array(0),
  differingBytes: 0,
  truncated: false,
  repairedBytes: 0,
};

function statusOf({ basis }: ComparisonPlan, found: Comparison): DiskVerification["status"] {
  if (basis.type === "unknown") return "unverifiable";
  if (found.differingBytes === 0) return "equal";
  return found.repairedBytes === found.differingBytes ? "repaired" : "different";
}

function verificationOf(
  disk: CycleDisk,
  plan: ComparisonPlan,
  found: Comparison,
  status: DiskVerification["status"],
  durationMs: number,
): DiskVerification {
  return {
    disk_id: disk.diskId,
    target: disk.targetFacts.uri,
    status,
    reason: plan.basis.reason,
    capacity_bytes: disk.frozen.capacityBytes,
    compared_bytes: found.comparedBytes,
    differing_bytes: found.differingBytes,
    repaired_bytes: found.repairedBytes,
    differences: rangesOf(found.differences),
    differences_truncated: found.truncated,
    newer_bytes: totalBytes(plan.newer),
    newer: rangesOf(plan.newer),
    duration_ms: Math.round(durationMs),
  };
}

function rangesOf(pairs: Float64Array): ByteRange[] {
  const ranges: ByteRange[] = [];
  for (let at = 0; at + 1 < pairs.length && ranges.length < listedMax; at += 2) {
    ranges.push({ offset: pairs[at]!, length: pairs[at + 1]! });
  }
  return ranges;
}
