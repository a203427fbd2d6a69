/** What every command on a VM begins and ends with: found, locked, in the history, and given back. */
import { buildInfo } from "../../build-info.ts";
import { VmLock } from "../../state/lock/lock.ts";
import { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { recordEarlyFailure } from "./early-failure.ts";
import { type CycleContext, endOf, type HeldVm, type Run, StageClock } from "./run.ts";
import { findSite, requireConnection } from "./site.ts";
import { checkTargetFlags } from "./targets.ts";
import { UndoStack } from "./undo.ts";

/**
 * Discover: finds the VM, takes its lock and does `work` with it.
 * @throws MigratekitError `usage`, `state-unusable`, `vsphere-…`, `locked`; whatever `work` throws
 */
export async function withVm<T>(
  context: CycleContext,
  work: (held: HeldVm) => Promise<T>,
): Promise<T> {
  const undo = new UndoStack(context.logger);
  try {
    const held = await holdVm(context, undo).catch((error: unknown) => {
      recordEarlyFailure(context, error);
      throw error;
    });
    const result = await work(held);
    const failure = await undo.unwind();
    if (failure !== undefined) throw failure;
    return result;
  } finally {
    await undo.unwind();
  }
}

async function holdVm(context: CycleContext, undo: UndoStack): Promise<HeldVm> {
  const { config, logger, signal, reporter } = context;
  reporter.stage("Discover");
  requireConnection(config);
  checkTargetFlags(config);
  const state = undo.use("close the state database", State.open(config.stateDir));
  const site = await findSite(config, logger, signal, state.trust);
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
  return {
    ...context,
    site,
    identity,
    state: state.database,
    records: state.records,
    journals: state.journals,
    runs: state.runs,
    lock,
  };
}

/**
 * One run in the history of a held VM. Whatever `work` put on the undo stack has been given back
 * when this ends, well or not; the run is `completed` only after that.
 */
export async function withRun<T>(
  held: HeldVm,
  work: (run: Run, undo: UndoStack) => Promise<T>,
): Promise<T> {
  const { config, runs, lock, identity, reporter } = held;
  const start = { command: config.command, version: buildInfo.version, lockToken: lock.token };
  const runId = runs.startRun(identity, start);
  const undo = new UndoStack(held.logger);
  const run = { ...held, runId, reporter: new StageClock(reporter, runs, runId) };
  try {
    const result = await work(run, undo);
    const failure = await undo.unwind();
    if (failure !== undefined) throw failure;
    runs.finishRun(runId, { status: "completed" });
    return result;
  } catch (error) {
    await undo.unwind();
    runs.finishRun(runId, endOf(error, held.signal));
    throw error;
  }
}
