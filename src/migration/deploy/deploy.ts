/**
 * The VM as a machine of CloudStack, and back. Forward: off the appliance, an empty machine, its own root out, ours
 * in their order, on, alive. Every step is one towards a goal that the state keeps (travel.ts), so the same command
 * goes on after a kill.
 */
import type { Instance } from "../../cloudstack/cloudstack.ts";
import { MigratekitError } from "../../errors.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import type { Run } from "../vm/run.ts";
import { awaitAlive } from "./alive.ts";
import type { ConvertedMachine } from "./order.ts";
import type { PlannedDeployment } from "./plan.ts";
import { travel } from "./travel.ts";

export { awaitAlive } from "./alive.ts";
export { bringBack, type ReturningVm } from "./bring-back.ts";
export { fillClone, provideClone } from "./clones.ts";
export { planOrder } from "./order.ts";
export { type PlannedDeployment, planDeployment, requireFreeName } from "./plan.ts";
export { type Traveller, travel } from "./travel.ts";

/** As `--json` has it. Names and units are an interface. */
export interface DeploymentDocument {
  readonly name: string;
  readonly id: string;
  readonly state: string;
  /** What showed that it lives. */
  readonly alive: string;
  readonly alive_at: string;
  readonly nics: readonly { readonly mac: string; readonly address?: string }[];
  readonly volumes: readonly { readonly disk_id: string; readonly id: string }[];
  /** From the shutdown at VMware to here. */
  readonly downtime_ms: number;
}

export type DeployingRun = Pick<
  HeldVm,
  "config" | "identity" | "state" | "logger" | "signal" | "reporter" | "lease"
> &
  Pick<Run, "runId">;

/**
 * Goes on with the cutover's deployment, which the state has by then, until the machine is alive and that is
 * written down: from there on only a command goes back.
 * @throws MigratekitError `instance-not-alive`, `cloudstack-…`; the signal's reason
 */
export async function deployVm(
  run: DeployingRun,
  { cloud, order }: PlannedDeployment,
  machine: ConvertedMachine,
): Promise<DeploymentDocument> {
  const { config, identity, state, logger, signal, reporter, runId } = run;
  const purpose = "cutover";
  const { instance } = await travel({
    ...{ cloud, identity, state, purpose, logger },
    ...(run.lease && { lease: run.lease }),
    onStep: (what) => reporter.stage("Finalize", what),
    // The name was written down, the settings may have changed since.
    order: async () => ({
      ...order.complete(machine),
      name: state.deployments.read(identity, purpose)!.instanceName,
    }),
  });
  if (instance === undefined) throw new Error("there is no machine at the end of the way");
  reporter.stage("Finalize", `waiting until ${instance.name} is seen alive`);
  const alive = await awaitAlive(cloud, instance.id, {
    ...{ probe: config.alive, timeoutMs: config.aliveTimeout, logger, signal },
  });
  const aliveAt = new Date().toISOString();
  state.markCutOver(identity, runId);
  state.deployments.learn(identity, purpose, { aliveAt });
  logger.info({ instance: instance.name }, `${instance.name} is alive: ${alive.seen}`);
  return documentOf(run, alive, aliveAt);
}

function documentOf(
  { identity, state }: DeployingRun,
  { instance, seen }: { readonly instance: Instance; readonly seen: string },
  aliveAt: string,
): DeploymentDocument {
  const { volumes, downSince = aliveAt } = state.deployments.read(identity, "cutover")!;
  return {
    name: instance.name,
    id: instance.id,
    state: instance.state,
    alive: seen,
    alive_at: aliveAt,
    nics: instance.nics.map(({ mac, ip }) => ({ mac, ...(ip !== undefined && { address: ip }) })),
    volumes: volumes.map(({ deviceKey, id }) => ({ disk_id: `disk-${deviceKey}`, id })),
    downtime_ms: Math.max(0, Date.parse(aliveAt) - Date.parse(downSince)),
  };
}

/** What a conversion says of the machine, as the state keeps it. @throws MigratekitError `state-unusable` */
export function machineOf(result: unknown): ConvertedMachine {
  const hardware =
    typeof result === "object" && result !== null && "hardware" in result
      ? (result.hardware as ConvertedMachine)
      : undefined;
  if (hardware?.controller !== undefined && Array.isArray(hardware.nics)) return hardware;
  throw new MigratekitError(
    "state-unusable",
    "what the conversion said of the machine is not in the state",
    { remedy: "Go back with 'migratekit rollback', and cut over again." },
  );
}
