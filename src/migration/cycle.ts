/** One cycle for one VM, from discovery to stored change IDs: the steps in their order. */
import { buildInfo } from "../build-info.ts";
import { StateDatabase } from "../state/database.ts";
import { DiskRecords } from "../state/disk-records.ts";
import { JournalStore } from "../state/journal.ts";
import { VmLock } from "../state/lock.ts";
import { RunStore } from "../state/runs.ts";
import type { VmIdentity } from "../state/vm-identity.ts";
import { openChangeIdStore, persistChangeIds, readChangeIds } from "./change-ids.ts";
import { planCopy } from "./copy-plan.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import {
  areaQuery,
  enableChangeTracking,
  inspectSource,
  openEngine,
  prepareDisk,
  snapshotVm,
  transfer,
} from "./cycle-steps.ts";
import { findSite } from "./discover.ts";
import { assembleDisk } from "./known-disk.ts";
import { type CycleContext, endOf, type Run, StageClock } from "./run.ts";
import { type CycleSummary, syncTypeOf } from "./summary.ts";
import { checkTargetFlags, resolveTargets } from "./targets.ts";
import { UndoStack } from "./undo.ts";

/**
 * Brings every target up to the VM's present state.
 * @throws MigratekitError of any class; the signal's reason after an interruption. Whatever was
 * acquired has been given back by then, the snapshot first.
 */
export async function runCycle(context: CycleContext): Promise<CycleSummary> {
  const undo = new UndoStack(context.logger);
  let run: Run | undefined;
  try {
    run = await openRun(context, undo);
    const summary = await sync(run, undo);
    const failure = await undo.unwind();
    if (failure !== undefined) throw failure;
    return summary;
  } catch (error) {
    run?.runs.finishRun(run.runId, endOf(error, context.signal));
    throw error;
  } finally {
    await undo.unwind();
  }
}

/** Discover: the VM is found and locked, the run is in the history. */
async function openRun(context: CycleContext, undo: UndoStack): Promise<Run> {
  const { config, logger, signal, reporter } = context;
  reporter.stage("Discover");
  checkTargetFlags(config);
  const state = undo.use("close the state database", StateDatabase.open(config.stateDir));
  const site = await findSite(config, logger, signal, state);
  undo.defer("end the vSphere session", () => site.client.close());
  const identity: VmIdentity = {
    endpoint: site.endpoint,
    instanceUuid: site.vm.instanceUuid,
    vmPath: site.vmPath,
  };
  const lock = undo.use(
    "release the VM's lock",
    VmLock.acquire(config.stateDir, identity.instanceUuid, identity),
  );
  const runs = new RunStore(state);
  const start = { command: config.command, version: buildInfo.version, lockToken: lock.token };
  const runId = runs.startRun(identity, start);
  return {
    ...context,
    reporter: new StageClock(reporter, runs, runId),
    site,
    identity,
    state,
    records: new DiskRecords(state),
    journals: new JournalStore(state),
    runs,
    lock,
    runId,
  };
}

async function sync(run: Run, undo: UndoStack): Promise<CycleSummary> {
  const { config, logger, signal, reporter, site, runId } = run;
  const startedAt = new Date().toISOString();
  const startedMs = performance.now();
  const inspection = await inspectSource(run);
  const targets = await resolveTargets(run, undo);
  const store = openChangeIdStore(config, run.state, run.records, logger);
  const keys = targets.map(({ disk }) => disk.key);
  const changeIds = await readChangeIds(store, run.identity, keys, {
    full: config.full,
    logger,
    signal,
  });

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
  const engine = undo.use("stop the copy engine", openEngine(config));
  const exports = undo.use("stop nbdkit", new UndoStack(logger));
  const prepared = [];
  for (const { disk, plan } of planned) {
    prepared.push(
      await prepareDisk(run, snapshot.moref, query, engine, exports, disk, plan, inspection),
    );
  }

  reporter.stage("Transfer");
  const outcomes = await transfer(run, engine, prepared);

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
  run.runs.finishRun(runId, { status: "completed" });
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

function newChangeId(disk: CycleDisk, previous: ReadonlyMap<number, string>) {
  const { key, changeId } = disk.frozen;
  return changeId === undefined ? [] : [{ deviceKey: key, changeId, previous: previous.get(key) }];
}
