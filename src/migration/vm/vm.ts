/** What every command on a VM begins and ends with: found, locked, and given back. */
import { VmLock } from "../../state/lock/lock.ts";
import { TargetLocks } from "../../state/lock/target-lock.ts";
import { State } from "../../state/state.ts";
import { type UndoStack, withUndo } from "../../undo.ts";
import { settleConversion } from "../apply/settle.ts";
import { recordEarlyFailure } from "./early-failure.ts";
import type { CycleContext, HeldVm } from "./held-vm.ts";
import { passLatch } from "./latch.ts";
import { findSite, requireConnection } from "./site.ts";
import { obstaclesToRun } from "./suitable.ts";
import { checkTargetFlags } from "./targets.ts";

/**
 * Discover: finds the VM, takes its lock and does `work` with it. Its runs are made in run.ts.
 * @throws MigratekitError `usage`, `state-unusable`, `vsphere-…`, `vm-unsuitable`, `locked`, `cut-over`, `converted`, `old-bytes-lost`; whatever `work` throws
 */
export async function withVm<T>(
  context: CycleContext,
  work: (held: HeldVm) => Promise<T>,
): Promise<T> {
  return await withUndo(context.logger, async (undo) => {
    const held = await holdVm(context, undo).catch((error: unknown) => {
      recordEarlyFailure(context, error);
      throw error;
    });
    return await work(held);
  });
}

async function holdVm(context: CycleContext, undo: UndoStack): Promise<HeldVm> {
  const { config, logger, signal, reporter } = context;
  reporter.stage("Discover");
  requireConnection(config);
  checkTargetFlags(config);
  const state = undo.use("close the state database", State.open(config.stateDir));
  const onWaiting = (what: string | undefined) => reporter.tracker.setDetail(what);
  const { site, identity } = await findSite(config, logger, signal, state, onWaiting);
  undo.defer("end the vSphere session", () => site.client.close());
  const [obstacle] = obstaclesToRun(site.vm);
  if (obstacle) throw obstacle;
  const lock = undo.use(
    "release the VM's lock",
    VmLock.acquire(config.stateDir, identity.instanceUuid, identity),
  );
  const reopened = passLatch(config, identity, state, logger);
  const targetLocks = undo.use("give the targets back", new TargetLocks(identity.vmPath));
  const full = config.full || reopened;
  await settleConversion({
    ...{ identity, state, targetLocks, logger, signal },
    config: { ...config, full },
  });
  state.machines.writeHardware(identity, site.vm.hardware);
  return { ...context, site, identity, state, lock, targetLocks };
}

/** The VM as it is now: its power state and disks may have changed since it was found. */
export async function readAgain(held: HeldVm): Promise<HeldVm> {
  const { site } = held;
  return { ...held, site: { ...site, vm: await site.client.readVm(site.vm.moref) } };
}
