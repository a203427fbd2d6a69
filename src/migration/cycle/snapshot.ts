/** The one snapshot of a run, and what dead runs left behind. */
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { reportOnly } from "../../report-only.ts";
import type { RunStore } from "../../state/runs.ts";
import { flatten, type SnapshotNode } from "../../vmware/snapshots.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { diskIdOf } from "../vm/disks.ts";
import type { Run } from "../vm/run.ts";
import type { Site } from "../vm/site.ts";
import { trackingOf, willBeTracked } from "../vm/suitable.ts";
import type { UndoStack } from "../vm/undo.ts";
import type { AreaQuery } from "./areas.ts";
import {
  hostId,
  ownerLives,
  snapshotDescription,
  snapshotName,
  snapshotOwner,
  thisOwner,
} from "./snapshot-names.ts";

/** A run's own snapshot. */
export interface VmSnapshot {
  readonly moref: string;
  readonly quiesced: boolean;
  /** As it holds them. */
  readonly disks: readonly VirtualDisk[];
  /** What is asked about its disks' areas. */
  readonly query: AreaQuery;
  /** Removes it; a second call gives the first one's outcome. */
  remove(): Promise<undefined>;
}

/** Turns changed block tracking on where it is off; it takes effect with the next snapshot. */
export async function enableChangeTracking(
  { vm, client }: Site,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  switch (trackingOf(vm)) {
    case "on":
      return;
    case "unsupported":
      logger.warn(
        { hardwareVersion: vm.hardwareVersion },
        "the VM cannot track changed blocks (hardware version 7 or newer can): every run copies all",
      );
      return;
    case "suspended":
      logger.warn(
        "the VM is suspended, so changed block tracking cannot be turned on: this run copies all, and " +
          "so do the next ones until the VM is resumed or powered off",
      );
      return;
    case "off":
      logger.info("turning on changed block tracking");
      await client.enableChangeTracking(vm.moref, signal);
  }
}

/** The part of a run that its snapshot takes. */
export type SnapshotContext = Pick<
  Run,
  "site" | "identity" | "state" | "lock" | "runId" | "config" | "reporter" | "logger" | "signal"
>;

/**
 * Leftovers go first, then the new snapshot; its removal is on the undo stack from the start.
 * @throws MigratekitError `snapshot-failed`, `vsphere-…`, `state-unusable`; the signal's reason
 */
export async function snapshotVm(context: SnapshotContext, undo: UndoStack): Promise<VmSnapshot> {
  const { identity, lock, logger, signal } = context;
  const { client, vm } = context.site;
  const { runs } = context.state;
  const dead = runs.runsWithLeftoverSnapshots(identity, lock).map((run) => run.runId);
  for (const gone of runs.deadRuns(identity, lock)) {
    reportOnly(logger, "the death of a run is not in the history", () =>
      runs.finishRun(gone.runId, { status: "died" }),
    );
  }
  const leftovers = { client, vmMoref: vm.moref, deadRunIds: new Set(dead), logger };
  await removeLeftovers({ ...leftovers, signal }, runs);

  const dropAll = async () => {
    context.reporter.tracker.setDetail("removing the snapshot");
    await dropSnapshot(context);
    // A dead run's snapshot may only have been in the making before; a VM's tasks go one after
    // another, so by now it is there.
    if (dead.length > 0) await removeLeftovers({ ...leftovers, hurry: signal }, runs);
    return undefined;
  };
  let removal: Promise<undefined> | undefined;
  const remove = () => (removal ??= dropAll());
  undo.defer("remove the snapshot", remove);
  const taken = await takeSnapshot(context);
  for (const disk of taken.disks) {
    if (disk.changeId === undefined && willBeTracked(vm)) {
      logger.warn(
        { disk: diskIdOf(disk) },
        "the disk has no change ID although tracking is on for the VM: it is copied in full each time",
      );
    }
  }
  const query = { client, vmMoref: vm.moref, snapshotMoref: taken.moref, logger, signal };
  return { ...taken, query, remove };
}

/** Takes the run's snapshot; its moref is in the state before anything uses it. */
async function takeSnapshot({ site, runId, state, config, reporter, signal }: SnapshotContext) {
  const { client, vm } = site;
  const name = snapshotName(runId);
  state.runs.recordSnapshot(runId, { name });
  const created = await client.createSnapshot(
    vm.moref,
    {
      name,
      description: snapshotDescription(thisOwner(runId), new Date().toISOString()),
      quiesce: config.quiesceSnapshot && vm.powerState === "poweredOn",
    },
    { signal, onProgress: (percent) => reporter.stage("Snapshot", `${percent} %`) },
  );
  state.runs.recordSnapshot(runId, { name, moref: created.moref });
  return { ...created, disks: await client.readSnapshotDisks(created.moref) };
}

/**
 * Removes this run's snapshot, found by its name: it may exist although its creation failed or was
 * interrupted. Afterwards the tree is asked, and whether disks need consolidation.
 */
async function dropSnapshot(context: SnapshotContext): Promise<void> {
  const { site, runId, state, logger, signal: hurry } = context;
  const { client, vm } = site;
  const ours = async () =>
    [...flatten(await client.snapshotTree(vm.moref))].filter(
      (node) => node.name === snapshotName(runId),
    );
  let consolidationNeeded = false;
  for (const snapshot of await ours()) {
    const removed = await client.removeSnapshot(snapshot.moref, { vmMoref: vm.moref, hurry });
    consolidationNeeded ||= removed.consolidationNeeded;
  }
  const [left] = await ours();
  if (left) {
    throw new MigratekitError(
      "vsphere-task-failed",
      `the snapshot ${left.name} (${left.moref}) is still there after its removal`,
      { remedy: "Remove it in the vSphere client, or run 'migratekit cleanup'." },
    );
  }
  noteRemoval(state.runs, runId, logger);
  if (consolidationNeeded) {
    logger.warn("vSphere says that the VM's disks need consolidation: do it in the vSphere client");
  }
}

export interface LeftoverQuery {
  readonly client: VsphereClient;
  readonly vmMoref: string;
  /** Runs that the state knows to be dead: theirs goes whatever host made it. */
  readonly deadRunIds: ReadonlySet<string>;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** See `RemoveOptions`. */
  readonly hurry?: AbortSignal;
}

/**
 * Removes the snapshots of dead runs, before a new one is made: the other order has corrupted file
 * systems in the guest. The caller holds the VM's lock.
 */
async function removeLeftovers(
  query: LeftoverQuery,
  log: Pick<RunStore, "finishSnapshot">,
): Promise<void> {
  const { client, vmMoref, deadRunIds, logger, signal, hurry } = query;
  for (const { moref, name } of await findLeftovers(query)) {
    logger.warn(
      { snapshot: moref, snapshotName: name },
      "removing the snapshot of a run that died",
    );
    await client.removeSnapshot(moref, { vmMoref, signal, hurry });
  }
  // What is not in the tree any more is gone, whoever removed it.
  for (const runId of deadRunIds) noteRemoval(log, runId, logger);
}

/** Where that fails, a later run looks for the snapshot and finds it gone. */
function noteRemoval(runs: Pick<RunStore, "finishSnapshot">, runId: string, logger: Logger): void {
  reportOnly(logger, "the snapshot's removal is not in the history", () =>
    runs.finishSnapshot(runId),
  );
}

/**
 * The snapshots of ours whose run is dead; those of living runs and other hosts are left alone, with a
 * warning.
 * @throws MigratekitError `vsphere-…`
 */
export async function findLeftovers(query: LeftoverQuery): Promise<SnapshotNode[]> {
  const all = [...flatten(await query.client.snapshotTree(query.vmMoref))];
  return all.filter((snapshot) => {
    const owner = snapshotOwner(snapshot);
    if (!owner) return false;
    if (query.deadRunIds.has(owner.runId)) return true;
    if (owner.host === hostId() && !ownerLives(owner)) return true;
    query.logger.warn(
      { snapshot: snapshot.moref, name: snapshot.name, host: owner.host, pid: owner.pid },
      "a snapshot of another migratekit run, alive or of another host, is left alone",
    );
    return false;
  });
}
