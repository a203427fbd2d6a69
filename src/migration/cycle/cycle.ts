/** One cycle for one VM, from discovery to stored change IDs: the steps in their order. */

import { MigratekitError } from "../../errors.ts";
import { UndoStack } from "../../undo.ts";
import { freezeDisk, type PlannedDisk, type PreparedDisk } from "../disk.ts";
import { openEngine } from "../engine.ts";
import { diskIdOf } from "../vm/disks.ts";
import type { CycleContext, HeldVm } from "../vm/held-vm.ts";
import { reserveConnections } from "../vm/host-connections.ts";
import { holdTargets } from "../vm/ownership.ts";
import { type Run, withRun } from "../vm/run.ts";
import { watchSpace } from "../vm/space.ts";
import { findDisks } from "../vm/targets.ts";
import { readAgain, withVm } from "../vm/vm.ts";
import {
  importChangeIds,
  openChangeIdStore,
  persistChangeIds,
  readChangeIds,
} from "./change-ids.ts";
import { transfer } from "./copy.ts";
import { guardTarget } from "./guard.ts";
import { announcePlan, planCopy } from "./plan.ts";
import { claimVm, enableChangeTracking, snapshotVm, type VmSnapshot } from "./snapshot.ts";
import { inspectSource, snapshotSource, startSource } from "./source.ts";
import { type CycleSummary, plannedEnding } from "./summary.ts";

/**
 * Brings every target up to the VM's present state.
 * @throws MigratekitError of any class; the signal's reason after an interruption. Whatever was
 * acquired has been given back by then, the snapshot first.
 */
export async function runCycle(context: CycleContext): Promise<CycleSummary> {
  return await withVm(context, syncVm);
}

/**
 * One cycle of a VM that is held already; begun again, once, where the VM got a disk meanwhile.
 * @throws as `runCycle`
 */
export async function syncVm(held: HeldVm): Promise<CycleSummary> {
  try {
    return await withRun(held, sync);
  } catch (error) {
    if (!(error instanceof MigratekitError) || error.code !== "vm-changed") throw error;
    held.logger.warn(`${error.message}; beginning again with it`);
    return await withRun(await readAgain(held), sync);
  }
}

async function sync(given: Run, undo: UndoStack): Promise<CycleSummary> {
  const run = { ...given, signal: await watchSpace(given, undo) };
  const { config, logger, signal, reporter, site, identity } = run;
  const inspection = await inspectSource(run);
  const found = await findDisks(run, undo);
  await holdTargets(run, found);
  reportGoneDisks(run);
  const store = openChangeIdStore(run);
  const keys = found.map(({ disk }) => disk.key);
  importChangeIds(run, keys);
  const changeIds = await readChangeIds(store, identity, keys, {
    full: config.full,
    logger,
    signal,
  });
  const { parallelDisks, sourceConnections } = await reserveConnections(run, found, undo);

  reporter.stage("EnableCBT");
  const deadRunIds = await claimVm(run);
  await enableChangeTracking(site, config, logger, signal);

  reporter.stage("Snapshot");
  const snapshot = await snapshotVm(run, deadRunIds, undo);
  refuseNewDisks(run, snapshot);

  reporter.stage("QueryCBT");
  const { query } = snapshot;
  const planned: PlannedDisk[] = [];
  for (const disk of found) {
    const frozen = freezeDisk(disk, snapshot.disks, { ...run, changeIds });
    planned.push({ ...frozen, plan: await planCopy(query, frozen, { full: config.full }) });
  }

  reporter.stage("StartExports");
  const engine =
    run.shared?.engine ?? undo.use("stop the copy engine", openEngine(config, logger, run.lease));
  const exports = undo.use("stop nbdkit", new UndoStack(logger));
  const from = snapshotSource(run, snapshot.moref, inspection, sourceConnections, exports);
  const prepared: PreparedDisk[] = [];
  for (const disk of planned) {
    const served = { ...disk, source: await startSource(from, disk) };
    const plan = await guardTarget(engine, query, served, config);
    // Each disk is opened once before any is copied; as many nbdkit stay as disks are copied at a time.
    if (prepared.length >= parallelDisks) await served.source.nbdkit.rest();
    prepared.push({ ...served, plan });
    announcePlan({ ...served, plan }, reporter.tracker, logger);
    const plannedBytes = reporter.tracker.plannedBytes(disk.diskId);
    run.account.disk(plannedEnding({ ...served, plan }, plannedBytes));
  }

  reporter.stage("Transfer");
  const copied = await transfer({ ...run, engine, query }, parallelDisks, prepared);

  reporter.stage("Finalize");
  await exports.unwind();
  const removal = await snapshot.remove().catch((error: unknown) => ({ error }));

  reporter.stage("PersistChangeIDs");
  const completed = copied.filter(({ outcome }) => outcome.status === "completed");
  await persistChangeIds(store, identity, completed, signal);

  for (const { outcome } of copied) if (outcome.status !== "completed") throw outcome.error;
  if (removal !== undefined) throw removal.error;
  const facts = run.account.facts();
  return { ...facts, sync_type: facts.sync_type ?? "full", quiesced: snapshot.quiesced };
}

/** A disk that came after the VM was read has no target yet, and the snapshot holds it. */
function refuseNewDisks({ site }: Run, snapshot: VmSnapshot): void {
  for (const disk of snapshot.disks) {
    if (site.vm.disks.some(({ key }) => key === disk.key)) continue;
    const what = `${diskIdOf(disk)} (${disk.label})`;
    throw new MigratekitError("vm-changed", `${what} was added to ${site.vm.name} just now`);
  }
}

/** A disk that was detached may come back: what is known of it stays. */
function reportGoneDisks({ state, identity, site, logger }: Run): void {
  for (const { deviceKey } of state.records.listDisks(identity)) {
    if (site.vm.disks.some((disk) => disk.key === deviceKey)) continue;
    logger.warn(
      `${diskIdOf({ key: deviceKey })} is no longer on the VM; its target and state stay as they are`,
    );
  }
}
