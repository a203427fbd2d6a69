/** What a deployment needs, looked up before the machine is down; nothing is changed. */
import type { CloudStack } from "../../cloudstack/cloudstack.ts";
import { MigratekitError } from "../../errors.ts";
import { volumeIdOf } from "../../nbd/target/volume.ts";
import type { DeployedVolume } from "../../state/machine/deployments.ts";
import { openCloudStack } from "../cloud.ts";
import { hardwareOf } from "../known/hardware.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import { type PlannedOrder, planOrder } from "./order.ts";

export type DeployingVm = Pick<
  HeldVm,
  "config" | "identity" | "state" | "logger" | "signal" | "lease"
>;

export interface PlannedDeployment {
  readonly cloud: CloudStack;
  readonly order: PlannedOrder;
  readonly applianceId: string;
  /** The boot disk first. */
  readonly volumes: readonly DeployedVolume[];
}

/** A disk's key, and its target as the state names it (nbd/target/uri.ts). */
export interface SyncedTarget {
  readonly deviceKey: number;
  readonly target: string;
}

/**
 * For targets that are still at the appliance; without any, for a deployment that is in the state already.
 * @throws MigratekitError `usage` for settings that are missing or targets that are no volumes, `cloudstack-…`; the
 *   signal's reason
 */
export async function planDeployment(
  vm: DeployingVm,
  targets?: readonly SyncedTarget[],
): Promise<PlannedDeployment> {
  const { config, identity, state, logger } = vm;
  const cloud = openCloudStack(vm);
  const hardware = hardwareOf(vm);
  const order = await planOrder(cloud, config, identity, hardware, (text) => logger.warn(text));
  if (targets === undefined) {
    const { applianceId, volumes } = state.deployments.read(identity, "cutover")!;
    return { cloud, order, applianceId, volumes };
  }
  const boot = state.machines.readHardware(identity)?.bootDiskKey;
  const volumes = targets
    .map(volumeOf)
    .toSorted(
      (a, b) =>
        Number(b.deviceKey === boot) - Number(a.deviceKey === boot) || a.deviceKey - b.deviceKey,
    );
  const { id: applianceId } = await cloud.appliance(config.cloudstackAppliance);
  for (const volume of volumes) await checkVolume(cloud, volume, applianceId);
  return { cloud, order, applianceId, volumes };
}

/** From here on an instance of this name is ours. @throws MigratekitError `cloudstack-conflict` */
export async function requireFreeName({
  cloud,
  order: { name },
}: {
  readonly cloud: CloudStack;
  readonly order: { readonly name: string };
}): Promise<void> {
  const taken = await cloud.findInstance(name);
  if (taken === undefined) return;
  throw new MigratekitError(
    "cloudstack-conflict",
    `there is an instance ${name} (${taken.id}) already, in state ${taken.state}`,
    { remedy: "Give another name with --cloudstack-name, or expunge that one." },
  );
}

function volumeOf({ deviceKey, target }: SyncedTarget): DeployedVolume {
  const id = volumeIdOf(target);
  if (id !== undefined) return { deviceKey, id };
  throw new MigratekitError(
    "usage",
    `disk-${deviceKey}: the target ${target} is no volume of CloudStack that could be attached to an instance`,
    { remedy: "Migrate with --cloudstack-volumes; the export's name is the volume's id then." },
  );
}

async function checkVolume(
  cloud: CloudStack,
  { deviceKey, id }: DeployedVolume,
  applianceId: string,
): Promise<void> {
  const volume = await cloud.volume(id);
  if (volume === undefined) {
    throw new MigratekitError(
      "cloudstack-not-found",
      `disk-${deviceKey}: there is no volume ${id} that this key may see`,
      { remedy: "Use the key of the account that owns the volumes." },
    );
  }
  const { instanceId, instanceName } = volume;
  if (instanceId === applianceId) return;
  throw new MigratekitError(
    "cloudstack-conflict",
    `disk-${deviceKey}: the volume ${volume.name} (${id}) is attached to ${instanceName ?? "nothing"}, not to the appliance`,
    { remedy: "Say with --cloudstack-appliance which instance exports it." },
  );
}
