/** The one snapshot of a run, and what dead runs left behind. */
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { reportOnly } from "../../report-only.ts";
import type { RunStore } from "../../state/runs.ts";
import type { UndoStack } from "../../undo.ts";
import { flatten, type RemoveOptions } from "../../vmware/snapshots.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import { diskIdOf } from "../vm/disks.ts";
import {
  describeMark,
  earlierMark,
  type Mark,
  markOf,
  otherRun,
  snapshotDescription,
  snapshotName,
} from "../vm/mark.ts";
import type { Run } from "../vm/run.ts";
import type { Site } from "../vm/site.ts";
import {
  type TrackingSettings,
  trackingOf,
  trackingStaysOff,
  willBeTracked,
} from "../vm/suitable.ts";
import type { AreaQuery } from "./areas.ts";

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

/** The part of a run that its snapshot takes. */
export type SnapshotContext = Pick<
  Run,
  | "site"
  | "identity"
  | "state"
  | "lock"
  | "runId"
  | "account"
  | "config"
  | "reporter"
  | "logger"
  | "signal"
  | "lease"
>;

/**
 * The VM is ours alone, and nothing of dead runs is left on it: their snapshots are removed before a
 * new one is made, as the other order has corrupted file systems (field notes, 10). The caller holds
 * the VM's lock. Gives the IDs of those runs.
 * @throws MigratekitError `locked` where another run's snapshot is on the VM, `vsphere-…`,
 *   `state-unusable`; the signal's reason
 */
export async function claimVm(context: SnapshotContext): Promise<ReadonlySet<string>> {
  const { identity, lock, site, logger } = context;
  const { runs } = context.state;
  const dead = runs.runsWithLeftoverSnapshots(identity, lock).map((run) => run.runId);
  for (const gone of runs.deadRuns(identity, lock)) {
    reportOnly(logger, "the death of a run is not in the history", () =>
      runs.finishRun(gone.runId, { status: "died" }),
    );
  }
  const deadRunIds = new Set(dead);
  const marks = await readMarks(site, deadRunIds);
  if (marks.others[0]) throw otherRun(site.vm.name, marks.others[0]);
  await removeMarks(site, marks.dead, logger, { signal: context.signal });
  // What is not in the tree any more is gone, whoever removed it.
  for (const runId of deadRunIds) noteRemoval(runs, runId, logger);
  return deadRunIds;
}

/**
 * Turns changed block tracking on where that can be done; it takes effect with the next snapshot.
 * @throws MigratekitError `cbt-unavailable`, `vsphere-…`; the signal's reason
 */
export async function enableChangeTracking(
  { vm, client }: Site,
  settings: TrackingSettings,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  switch (trackingOf(vm, settings)) {
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
    case "snapshots":
      logger.warn(
        `${trackingStaysOff(vm)}; remove the snapshots, or say --allow-tracking-over-snapshots`,
      );
      return;
    case "off":
      logger.info("turning on changed block tracking");
      await client.enableChangeTracking(vm.moref, signal);
  }
}

/**
 * The run's snapshot; its removal is on the undo stack from the start. The tree is read again
 * afterwards: of two runs that came at the same time the later one yields.
 * @throws MigratekitError `locked`, `snapshot-failed`, `vsphere-…`, `state-unusable`; the signal's reason
 */
export async function snapshotVm(
  context: SnapshotContext,
  deadRunIds: ReadonlySet<string>,
  undo: UndoStack,
): Promise<VmSnapshot> {
  const { site, runId, logger, signal } = context;
  const { client, vm } = site;
  const dropAll = async () => {
    // Whoever holds the lease now finds it by its name, and may have made it the mark of a run of its own.
    if (context.lease?.signal.aborted) return undefined;
    context.reporter.tracker.setDetail("removing the snapshot");
    await dropSnapshot(context);
    // A dead run's snapshot may only have been in the making before; a VM's tasks go one after
    // another, so by now it is there.
    if (deadRunIds.size > 0) {
      await removeMarks(site, (await readMarks(site, deadRunIds)).dead, logger, { hurry: signal });
    }
    return undefined;
  };
  let removal: Promise<undefined> | undefined;
  const remove = () => (removal ??= dropAll());
  undo.defer("remove the snapshot", remove);
  const taken = await takeSnapshot(context);
  const tree = await client.snapshotTree(vm.moref);
  const isOther = (mark: Mark) => mark.runId !== runId && !deadRunIds.has(mark.runId);
  const earlier = earlierMark(tree, taken.moref, isOther);
  if (earlier) throw otherRun(vm.name, earlier);
  for (const disk of taken.disks) {
    if (disk.changeId === undefined && willBeTracked(vm, context.config)) {
      logger.warn(
        { disk: diskIdOf(disk) },
        "the disk has no change ID although tracking is on for the VM: it is copied in full each time",
      );
    }
  }
  const query = { client, vmMoref: vm.moref, snapshotMoref: taken.moref, logger, signal };
  return { ...taken, query, remove };
}

/**
 * Before a change ID becomes true: is the run's snapshot, its claim to the VM, still there? Somebody may
 * have removed it, and another run may have begun since.
 * @throws MigratekitError `snapshot-gone`, `vsphere-…`
 */
export async function assertSnapshotThere(query: AreaQuery): Promise<void> {
  const tree = await query.client.snapshotTree(query.vmMoref);
  if (flatten(tree).some(({ moref }) => moref === query.snapshotMoref)) return;
  throw new MigratekitError(
    "snapshot-gone",
    `the snapshot ${query.snapshotMoref} of this run was removed while it worked`,
  );
}

/** Takes the run's snapshot; its moref is in the state before anything uses it. */
async function takeSnapshot(context: SnapshotContext) {
  const { site, runId, state, account, config, reporter, signal } = context;
  const { client, vm } = site;
  const name = snapshotName(runId);
  state.runs.recordSnapshot(runId, { name });
  account.snapshot({ name, state: "left" });
  await context.lease?.barrier("the snapshot");
  const created = await client.createSnapshot(
    vm.moref,
    {
      name,
      description: snapshotDescription(runId, new Date().toISOString()),
      quiesce: config.quiesceSnapshot && vm.powerState === "poweredOn",
    },
    { signal, onProgress: (percent) => reporter.stage("Snapshot", `${percent} %`) },
  );
  account.snapshot({ name, moref: created.moref, state: "left" }, created.quiesced);
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
    flatten(await client.snapshotTree(vm.moref)).filter(
      (node) => node.name === snapshotName(runId),
    );
  let consolidationNeeded = false;
  const found = await ours();
  for (const snapshot of found) {
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
  context.account.snapshotGone(found.length > 0);
  if (consolidationNeeded) {
    logger.warn("vSphere says that the VM's disks need consolidation: do it in the vSphere client");
  }
}

/** The snapshots of ours on a VM. */
export interface Marks {
  /** Of runs that this state directory knows to be dead: theirs goes, whatever host made it. */
  readonly dead: readonly Mark[];
  /** Of runs that may be alive: with another state directory, user or appliance. */
  readonly others: readonly Mark[];
}

/** @throws MigratekitError `vsphere-…` */
export async function readMarks(
  { client, vm }: Pick<Site, "client" | "vm">,
  deadRunIds: ReadonlySet<string>,
): Promise<Marks> {
  const all = flatten(await client.snapshotTree(vm.moref));
  const marks = all.map(markOf).filter((mark) => mark !== undefined);
  return {
    dead: marks.filter(({ runId }) => deadRunIds.has(runId)),
    others: marks.filter(({ runId }) => !deadRunIds.has(runId)),
  };
}

async function removeMarks(
  { client, vm }: Site,
  marks: readonly Mark[],
  logger: Logger,
  until: Pick<RemoveOptions, "signal" | "hurry">,
): Promise<void> {
  for (const mark of marks) {
    const { moref, name } = mark.snapshot;
    logger.warn(
      { snapshot: moref, snapshotName: name },
      `removing the snapshot of a run that died: ${describeMark(mark)}`,
    );
    await client.removeSnapshot(moref, { vmMoref: vm.moref, ...until });
  }
}

/** Where that fails, a later run looks for the snapshot and finds it gone. */
function noteRemoval(runs: Pick<RunStore, "finishSnapshot">, runId: string, logger: Logger): void {
  reportOnly(logger, "the snapshot's removal is not in the history", () =>
    runs.finishSnapshot(runId),
  );
}
