/** What every command on a VM begins and ends with: found, locked, and given back. */
import { VmLock } from "../../state/lock/lock.ts";
import { TargetLocks } from "../../state/lock/target-lock.ts";
import { State } from "../../state/state.ts";
import { type UndoStack, withUndo } from "../../undo.ts";
import { settleConversion } from "../apply/settle.ts";
import { recordEarlyFailure } from "./early-failure.ts";
import type { CycleContext, HeldVm } from "./held-vm.ts";
import { isUnderWay, passLatch, refuseDeployed } from "./latch.ts";
import { findSite, requireConnection } from "./site.ts";
import { obstaclesToRun } from "./suitable.ts";
import { checkTargetFlags } from "./targets.ts";

export interface HoldOptions {
  /** Where the VM is on its way to CloudStack, or back, `work` goes on with that before anything else. */
  readonly takesUp?: boolean;
}

/**
 * Discover: finds the VM, takes its lock and does `work` with it. Its runs are made in run.ts.
 * @throws MigratekitError `usage`, `state-unusable`, `vsphere-…`, `vm-unsuitable`, `locked`, `cut-over`, `converted`,
 *   `deployed`, `old-bytes-lost`; whatever `work` throws
 */
export async function withVm<T>(
  context: CycleContext,
  work: (held: HeldVm) => Promise<T>,
  options: HoldOptions = {},
): Promise<T> {
  return await withUndo(context.logger, async (undo) => {
    const held = await holdVm(context, undo, options).catch((error: unknown) => {
      recordEarlyFailure(context, error);
      throw error;
    });
    return await work(held);
  });
}

async function holdVm(
  context: CycleContext,
  undo: UndoStack,
  { takesUp = false }: HoldOptions,
): Promise<HeldVm> {
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
  const targetLocks = undo.use("give the targets back", new TargetLocks(identity.vmPath));
  const held = { ...context, site, identity, state, lock, targetLocks };
  if (takesUp && isUnderWay(identity, state)) return held;
  await settle(held);
  return held;
}

/**
 * What every command does first that syncs.
 * @throws MigratekitError `cut-over`, `converted`, `deployed`, `old-bytes-lost`, `target-…`; the signal's reason
 */
export async function settle(held: HeldVm): Promise<void> {
  const { config, identity, state, logger, site } = held;
  refuseDeployed(identity, state, logger, config);
  const full = passLatch(config, identity, state, logger) || config.full;
  await settleConversion({ ...held, config: { ...config, full } });
  state.machines.writeHardware(identity, site.vm.hardware);
}

/** The VM as it is now: its power state and disks may have changed since it was found. */
export async function readAgain(held: HeldVm): Promise<HeldVm> {
  const { site } = held;
  return { ...held, site: { ...site, vm: await site.client.readVm(site.vm.moref) } };
}
