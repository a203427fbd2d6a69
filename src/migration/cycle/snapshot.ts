/** The one snapshot of a run, and what dead runs left behind. */
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import type { RunStore } from "../../state/runs.ts";
import { flatten, type SnapshotNode } from "../../vmware/snapshots.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import {
  hostId,
  ownerLives,
  snapshotDescription,
  snapshotName,
  snapshotOwner,
  thisOwner,
} from "./snapshot-names.ts";

export interface RunSnapshot {
  readonly moref: string;
  readonly quiesced: boolean;
  readonly disks: readonly VirtualDisk[];
}

/** What the state knows of the snapshots of runs; the part of RunStore that is used here. */
export type SnapshotLog = Pick<RunStore, "recordSnapshot" | "finishSnapshot">;

export interface LeftoverQuery {
  readonly client: VsphereClient;
  readonly vmMoref: string;
  /** Runs that the state knows to be dead: theirs goes whatever host made it. */
  readonly deadRunIds: ReadonlySet<string>;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
}

/**
 * Removes the snapshots of dead runs, before a new one is made: the other order has corrupted file
 * systems (field notes, 10). The caller holds the VM's lock.
 */
export async function removeLeftovers(query: LeftoverQuery, log: SnapshotLog): Promise<number> {
  const leftovers = await findLeftovers(query);
  for (const snapshot of leftovers) {
    query.logger.warn(
      { snapshot: snapshot.moref, name: snapshot.name },
      "removing the snapshot of a run that died",
    );
    await query.client.removeSnapshot(snapshot.moref, {
      vmMoref: query.vmMoref,
      signal: query.signal,
    });
  }
  // What is not in the tree any more is gone, whoever removed it.
  for (const runId of query.deadRunIds) log.finishSnapshot(runId);
  return leftovers.length;
}

/** The snapshots of ours whose run is dead; those of living runs and other hosts are left alone. */
export async function findLeftovers(query: LeftoverQuery): Promise<SnapshotNode[]> {
  const all = flatten(await query.client.snapshotTree(query.vmMoref));
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

/** Takes the run's snapshot; its moref is in the state before anything uses it. */
export async function takeSnapshot(
  client: VsphereClient,
  vmMoref: string,
  runId: string,
  log: SnapshotLog,
  options: {
    quiesce: boolean;
    signal: AbortSignal;
    onProgress: (percent: number) => void;
  },
): Promise<RunSnapshot> {
  const name = snapshotName(runId);
  log.recordSnapshot(runId, { name });
  const created = await client.createSnapshot(
    vmMoref,
    {
      name,
      description: snapshotDescription(thisOwner(runId), new Date().toISOString()),
      quiesce: options.quiesce,
    },
    { signal: options.signal, onProgress: options.onProgress },
  );
  log.recordSnapshot(runId, { name, moref: created.moref });
  return { ...created, disks: await client.readSnapshotDisks(created.moref) };
}

/**
 * Removes this run's snapshot, found by its name: it may exist although its creation failed or was
 * interrupted. Afterwards the tree is asked, and whether disks need consolidation.
 */
export async function dropSnapshot(
  client: VsphereClient,
  vmMoref: string,
  runId: string,
  log: SnapshotLog,
  logger: Logger,
): Promise<void> {
  const ours = async () =>
    flatten(await client.snapshotTree(vmMoref)).filter((node) => node.name === snapshotName(runId));
  let consolidationNeeded = false;
  for (const snapshot of await ours()) {
    const removed = await client.removeSnapshot(snapshot.moref, { vmMoref });
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
  log.finishSnapshot(runId);
  if (consolidationNeeded) {
    logger.warn("vSphere says that the VM's disks need consolidation: do it in the vSphere client");
  }
}
