/** The cutover's part in CloudStack: the machine made of the volumes, and the way back while it is not alive. */
import { MigratekitError, messageOf } from "../../errors.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import {
  bringBack,
  type DeploymentDocument,
  deployVm,
  machineOf,
  type PlannedDeployment,
} from "../deploy/deploy.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import { withRun } from "../vm/run.ts";
import { apart } from "./apart.ts";

/** From here on the cutover can be taken up by another process. */
export function beginDeployment(
  { state, identity }: HeldVm,
  { applianceId, volumes, order }: PlannedDeployment,
  { runId, downSince }: { readonly runId: string; readonly downSince: string },
): void {
  const { name: instanceName } = order;
  state.deployments.begin(identity, "cutover", {
    ...{ runId, applianceId, volumes, instanceName, downSince },
  });
}

/** What was begun is forgotten where the conversion did not come to the targets. */
export function withdrawDeployment({ state, identity }: HeldVm): void {
  if (state.conversions.read(identity) !== undefined) return; // old bytes are to be brought back first
  state.deployments.forget(identity, "cutover");
}

/**
 * The machine, alive. Whatever ends that before, a signal too, is undone: the machine gone, the volumes at the
 * appliance with their old bytes.
 * @throws MigratekitError `instance-not-alive`, `cloudstack-…`; the signal's reason
 */
export async function deployOrGoBack(
  held: HeldVm,
  plan: PlannedDeployment,
): Promise<DeploymentDocument> {
  try {
    const machine = machineOf(held.state.conversions.read(held.identity)?.result);
    const named = { ...held, reporter: apart(held.reporter) };
    return await withRun(named, (run) => deployVm(run, plan, machine));
  } catch (error) {
    held.logger.error(`the machine in CloudStack did not come to life: ${messageOf(error)}`);
    await goBack(held);
    throw error;
  }
}

/** Gives whether it got there; where it did not, the state says so, and `rollback` goes on. Never rejects. */
export async function goBack(held: HeldVm): Promise<boolean> {
  const { identity, state, logger } = held;
  const stored = state.deployments.read(identity, "cutover");
  if (stored === undefined) return true;
  if (held.lease?.signal.aborted) return false;
  try {
    // What is half done must come to an end, whatever ended the way there.
    const signal = held.lease?.signal ?? new AbortController().signal;
    await leaveInSync({ ...held, signal, reporter: apart(held.reporter) }, stored);
    return true;
  } catch (error) {
    logger.error(
      `the way back from ${stored.instanceName} in CloudStack did not end: ${messageOf(error)}; 'migratekit rollback' goes on with it`,
    );
    return false;
  }
}

/**
 * Brings all back; what a machine that ran has written is nowhere noted, so the next sync is a full copy then.
 * @throws MigratekitError `cloudstack-…`, `target-…`, `old-bytes-lost`; the signal's reason
 */
export async function leaveInSync(held: HeldVm, stored: StoredDeployment): Promise<void> {
  const { identity, state, logger } = held;
  const { hasRun } = await bringBack(held, stored);
  if (hasRun) {
    for (const { deviceKey } of stored.volumes) state.records.distrustDisk(identity, deviceKey);
  }
  state.deployments.forget(identity, "cutover");
  const sync = hasRun ? "; the next sync copies everything, as it had been started" : "";
  logger.warn(
    `${stored.instanceName} is gone from CloudStack, and the volumes are back at the appliance${sync}`,
  );
}

/** A cutover that another process left on its way: whether it can go on from there. */
export async function canGoOn(held: HeldVm): Promise<boolean> {
  const { identity, state, site } = held;
  const stored = state.deployments.read(identity, "cutover");
  if (stored === undefined || stored.aliveAt !== undefined) return false;
  const converted = state.conversions.read(identity)?.phase === "converted";
  if (stored.goal !== "deploy" || !converted) return false;
  const power = await site.client.readPowerState(site.vm.moref);
  if (power === "poweredOff") return true;
  // It has written since: what the volumes hold is not its last state any more.
  if (!(await goBack(held))) {
    throw new MigratekitError(
      "power-state-changed",
      `${site.vm.name} is ${power} again, and its volumes are still on their way to ${stored.instanceName}`,
      { remedy: "Go on with the way back: 'migratekit rollback'. Both must never run." },
    );
  }
  throw new MigratekitError(
    "power-state-changed",
    `${site.vm.name} was powered on again before ${stored.instanceName} was alive in CloudStack`,
    { remedy: "Nothing is left in CloudStack; run the cutover again when the VM may be down." },
  );
}
