/** A VM that was cut over, or is about to be in CloudStack: its volumes are another machine's disks now. */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { CutOver } from "../../state/cut-over.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";

/**
 * Refuses to write to the volumes of a VM that was cut over, or, with `--reopen`, lets it be copied again from
 * now on, in full. A comparison alone is never refused. Call it under the VM's lock.
 * Gives whether it was just reopened.
 * @throws MigratekitError `cut-over`
 */
export function passLatch(
  config: Pick<Config, "command" | "repair" | "reopen">,
  identity: VmIdentity,
  state: State,
  logger: Logger,
): boolean {
  const cutOver = state.readCutOver(identity);
  if (cutOver === undefined || (config.command === "verify" && !config.repair)) return false;
  if (!config.reopen) throw cutOverError(identity, cutOver);
  // What a machine has run from is no base for changes, whatever its file systems show of it.
  for (const { deviceKey } of state.records.listDisks(identity)) {
    state.records.distrustDisk(identity, deviceKey);
  }
  state.clearCutOver(identity);
  logger.warn(`--reopen: ${lossText(cutOver)}; every disk is copied in full`);
  return true;
}

/** The refusal, for a run and for a look ahead. */
export function cutOverError(
  { vmPath }: VmIdentity,
  { at, runId }: CutOver,
  more: { readonly remedy?: string } = {},
): MigratekitError {
  return new MigratekitError("cut-over", `${vmPath} was cut over at ${at} (run ${runId})`, {
    context: { vmPath, at, runId },
    ...more,
  });
}

/** What it means that a cutover does not count any more. */
export function lossText({ at, runId }: CutOver): string {
  return (
    `the cutover of ${at} (run ${runId}) does not count any more: ` +
    "what was written to the volumes since then is lost"
  );
}

/**
 * Refuses commands that would sync or convert such a VM. With `reopen` a machine that was seen alive is left to
 * itself, and nothing here knows of it any more.
 * @throws MigratekitError `deployed`, `cut-over`
 */
export function refuseDeployed(
  identity: VmIdentity,
  state: Pick<State, "deployments" | "readCutOver">,
  logger: Logger,
  { reopen }: { readonly reopen: boolean },
): void {
  const obstacle = deploymentObstacle(identity, state, reopen);
  if (obstacle) throw obstacle;
  const left = state.deployments.read(identity, "cutover");
  if (left === undefined) return;
  state.deployments.forget(identity, "cutover");
  logger.warn(`--reopen: ${left.instanceName} in CloudStack is left to itself, with its volumes`);
}

/** The same for a look ahead. */
export function deploymentObstacle(
  identity: VmIdentity,
  state: Pick<State, "deployments" | "readCutOver">,
  reopen: boolean,
): MigratekitError | undefined {
  const stored = state.deployments.read(identity, "cutover");
  if (stored === undefined) return undefined;
  if (stored.aliveAt === undefined) return deployedError(identity, stored);
  if (reopen) return undefined;
  const cutOver = state.readCutOver(identity) ?? { runId: stored.runId, at: stored.aliveAt };
  return cutOverError(identity, cutOver, {
    remedy: `It runs in CloudStack as ${stored.instanceName}: go back with 'migratekit rollback'. To leave it there and copy the VM anew to other volumes, run with --reopen.`,
  });
}

/** Whether a machine is being made of its volumes, or unmade, and was not seen alive. */
export function isUnderWay(identity: VmIdentity, state: Pick<State, "deployments">): boolean {
  const stored = state.deployments.read(identity, "cutover");
  return stored !== undefined && stored.aliveAt === undefined;
}

/** The refusal, for a run and for a look ahead. */
export function deployedError(
  { vmPath }: VmIdentity,
  { since, runId, goal, instanceName }: StoredDeployment,
): MigratekitError {
  const way = goal === "deploy" ? "on their way to" : "on their way back from";
  return new MigratekitError(
    "deployed",
    `the volumes of ${vmPath} are ${way} ${instanceName} in CloudStack since ${since} (run ${runId})`,
    { context: { vmPath, since, runId, instance: instanceName } },
  );
}
