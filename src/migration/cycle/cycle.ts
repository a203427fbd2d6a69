/** One cycle for one VM, from discovery to stored change IDs: the steps in their order. */

import type { CycleContext, HeldVm, Run } from "../vm/run.ts";
import { claimTargets, reserveConnections } from "../vm/shared.ts";
import { resolveTargets } from "../vm/targets.ts";
import { UndoStack } from "../vm/undo.ts";
import { withRun, withVm } from "../vm/vm.ts";
import {
  importChangeIds,
  openChangeIdStore,
  persistChangeIds,
  readChangeIds,
} from "./change-ids.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import { assembleDisk } from "./known-disk.ts";
import { planCopy } from "./plan.ts";
import {
  areaQuery,
  enableChangeTracking,
  inspectSource,
  openEngine,
  prepareDisk,
  snapshotVm,
  transfer,
} from "./steps.ts";
import { type CycleSummary, syncTypeOf } from "./summary.ts";

/**
 * Brings every target up to the VM's present state.
 * @throws MigratekitError of any class; the signal's reason after an interruption. Whatever was
 * acquired has been given back by then, the snapshot first.
 */
export async function runCycle(context: CycleContext): Promise<CycleSummary> {
  return await withVm(context, syncVm);
}

/** One cycle of a VM that is held already. */
export async function syncVm(held: HeldVm): Promise<CycleSummary> {
  return await withRun(held, sync);
}

async function sync(run: Run, undo: UndoStack): Promise<CycleSummary> {
  const { config, logger, signal, reporter, site, runId } = run;
  const startedAt = new Date().toISOString();
  const startedMs = performance.now();
  const inspection = await inspectSource(run);
  const targets = await resolveTargets(run, undo);
  claimTargets(
    run,
    targets.map(({ identity }) => identity),
  );
  reportGoneDisks(run);
  const store = openChangeIdStore(config, run.state, run.records, logger);
  const keys = targets.map(({ disk }) => disk.key);
  importChangeIds(run, keys);
  const changeIds = await readChangeIds(store, run.identity, keys, {
    full: config.full,
    logger,
    signal,
  });
  const limited = await reserveConnections(run, targets.length, undo);

  reporter.stage("EnableCBT");
  await enableChangeTracking(run);

  reporter.stage("Snapshot");
  const snapshot = await snapshotVm(run, undo);

  reporter.stage("QueryCBT");
  const query = areaQuery(run, snapshot);
  const planned = [];
  for (const target of targets) {
    const disk = assembleDisk(run, snapshot, target, changeIds.get(target.disk.key));
    planned.push({ disk, plan: await planCopy(query, disk, { full: config.full }) });
  }

  reporter.stage("StartExports");
  const engine = run.shared?.engine ?? undo.use("stop the copy engine", openEngine(config));
  const exports = undo.use("stop nbdkit", new UndoStack(logger));
  const prepared = [];
  for (const { disk, plan } of planned) {
    prepared.push(
      await prepareDisk(limited, snapshot.moref, query, engine, exports, disk, plan, inspection),
    );
  }

  reporter.stage("Transfer");
  const outcomes = await transfer(limited, engine, query, prepared);

  reporter.stage("Finalize");
  await exports.unwind();
  const removal = await snapshot.remove().catch((error: unknown) => ({ error }));

  reporter.stage("PersistChangeIDs");
  const copied = outcomes.filter((outcome) => outcome.error === undefined);
  await persistChangeIds(
    store,
    run.identity,
    copied.flatMap((outcome) => newChangeId(outcome.disk, changeIds)),
    signal,
  );

  const failure = outcomes.find((outcome) => outcome.error !== undefined) ?? removal;
  if (failure?.error !== undefined) throw failure.error;
  const disks = outcomes.map((outcome) => outcome.summary);
  return {
    vm: { path: site.vmPath, moref: site.vm.moref, instance_uuid: site.vm.instanceUuid },
    run_id: runId,
    sync_type: syncTypeOf(disks),
    quiesced: snapshot.quiesced,
    started_at: startedAt,
    duration_ms: Math.round(performance.now() - startedMs),
    disks,
  };
}

/** A disk that was detached may come back: what is known of it stays. */
function reportGoneDisks({ records, identity, site, logger }: Run): void {
  for (const { deviceKey } of records.listDisks(identity)) {
    if (site.vm.disks.some((disk) => disk.key === deviceKey)) continue;
    logger.warn(`disk-${deviceKey} is no longer on the VM; its target and state stay as they are`);
  }
}

function newChangeId(disk: CycleDisk, previous: ReadonlyMap<number, string>) {
  const { key, changeId } = disk.frozen;
  return changeId === undefined ? [] : [{ deviceKey: key, changeId, previous: previous.get(key) }];
}
