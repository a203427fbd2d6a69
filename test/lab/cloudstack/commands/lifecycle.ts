/** Start, stop, destroy, expunge. */

import { internalError, parameterError, permissionDenied } from "../api/api-error.ts";
import type { MachineDisk, MachineHardware } from "../hypervisor/machine.ts";
import { describeHolder } from "../hypervisor/storage.ts";
import {
  type DiskController,
  type InstanceRecord,
  type NicAdapter,
  serialOf,
  type VolumeRecord,
} from "../world/records.ts";
import { byId, instanceAnswer, osTypeOf } from "./answers.ts";
import { type Call, type Command, submit } from "./command.ts";
import { findInstance } from "./find.ts";

/** A command on one machine that the caller owns; what the work gives is the machine's answer. */
function onInstance(
  text: Pick<Command, "description" | "parameters">,
  work: (call: Call, instance: InstanceRecord) => Promise<void>,
): Command {
  return {
    ...text,
    isAsync: true,
    run(call) {
      const { world, account } = call;
      const instance = findInstance(call);
      return submit(call, { type: "VirtualMachine", id: instance.id }, async () => {
        world.checkOwned(account, instance.owner, `virtual machine ${instance.id}`);
        await work(call, instance);
        return { virtualmachine: instanceAnswer(world, instance, account) };
      });
    },
  };
}

export const startVirtualMachine = onInstance(
  { description: "Starts a virtual machine.", parameters: "id*" },
  startNow,
);

export async function startNow(call: Call, instance: InstanceRecord): Promise<void> {
  const { world, storage, hypervisor } = call;
  if (instance.state !== "Stopped")
    throw parameterError(
      `Unable to start the virtual machine ${instance.name}: it is ${instance.state}, not Stopped`,
    );
  const volumes = world.volumesOf(instance.id);
  const hardware = hardwareOf(call, instance, volumes);
  instance.state = "Starting";
  try {
    for (const volume of volumes) {
      await storage.provide(volume);
      volume.state = "Ready";
      for (const holder of storage.holders(volume.id))
        world.violations.push(
          `${instance.name} is started while ${describeHolder(holder)} has its volume ${volume.id} open`,
        );
    }
    await hypervisor.start(instance, hardware);
    instance.state = "Running";
  } catch (error) {
    instance.state = "Stopped";
    throw internalError(
      `Unable to start VM instance ${instance.name}: ${error instanceof Error ? error.message : error}`,
    );
  }
}

function hardwareOf(
  { world, storage }: Call,
  instance: InstanceRecord,
  volumes: readonly VolumeRecord[],
): MachineHardware {
  const { details } = instance;
  const osType = osTypeOf(world, instance);
  const uefi = instance.bootType === "UEFI";
  const root = (details.rootDiskController ?? osType.diskController) as DiskController;
  const data = (details.dataDiskController ?? root) as DiskController;
  if (!volumes.some(({ deviceId }) => deviceId === 0))
    throw internalError(`Unable to find a ROOT volume of VM instance ${instance.name}`);
  const machine = details["kvm.guest.os.machine.type"] ?? (uefi ? "q35" : "pc");
  if (machine === "q35" && (root === "ide" || (volumes.length > 1 && data === "ide")))
    throw internalError(
      "unsupported configuration: IDE controllers are unsupported for this QEMU binary or machine type",
    );
  const disks = volumes.map(
    ({ id, deviceId }): MachineDisk => ({
      ...{ file: storage.fileOf(id), serial: serialOf(id) },
      controller: deviceId === 0 ? root : data,
    }),
  );
  const adapter = (details.nicAdapter ?? osType.nicAdapter) as NicAdapter;
  return {
    ...{ cpus: instance.cpuNumber, memoryMiB: instance.memoryMiB, uefi, disks },
    machine: machine === "q35" ? "q35" : "pc",
    nics: instance.nics.map(({ mac, ip, networkId }) => {
      const { cidr, gateway } = byId(world.catalogue.networks, networkId);
      return { mac, adapter, ...(cidr && gateway && ip && { lan: { cidr, gateway, ip } }) };
    }),
  };
}

/** What a host tells: a machine whose guest has switched itself off does not run any more. */
export function syncPower({ world, hypervisor }: Pick<Call, "world" | "hypervisor">): void {
  for (const instance of world.standing)
    if (instance.state === "Running" && !instance.isAppliance)
      if (hypervisor.domainOf(instance.id)?.isAlive() !== true) instance.state = "Stopped";
}

export const stopVirtualMachine = onInstance(
  { description: "Stops a virtual machine.", parameters: "id* forced" },
  async (call, instance) => {
    if (instance.state === "Destroyed" || instance.state === "Expunging")
      throw parameterError(`Unable to find a virtual machine with id ${instance.id}`);
    await stopNow(call, instance, call.parameters.flag("forced") === true);
  },
);

async function stopNow(call: Call, instance: InstanceRecord, forced: boolean): Promise<void> {
  const { world, hypervisor } = call;
  if (instance.isAppliance) {
    world.violations.push("the appliance is stopped");
    throw internalError("the appliance does not stop here");
  }
  if (instance.state !== "Running") return;
  instance.state = "Stopping";
  await hypervisor.domainOf(instance.id)?.stop(forced);
  instance.state = "Stopped";
}

export const destroyVirtualMachine = onInstance(
  { description: "Destroys a virtual machine.", parameters: "id* expunge volumeids" },
  async (call, instance) => {
    const { parameters } = call;
    const expunges = parameters.flag("expunge") === true;
    if (expunges) checkMayExpunge(call);
    if (instance.state === "Expunging")
      throw parameterError(`Unable to find a virtual machine with id ${instance.id}`);
    await stopNow(call, instance, true);
    await deleteNamedVolumes(call, instance);
    instance.state = "Destroyed";
    if (expunges) await expungeNow(call, instance);
  },
);

export const expungeVirtualMachine = onInstance(
  { description: "Expunge a virtual machine.", parameters: "id*" },
  async (call, instance) => {
    checkMayExpunge(call);
    if (instance.state !== "Destroyed")
      throw parameterError(`Please destroy vm with specified vmId before expunge: ${instance.id}`);
    await expungeNow(call, instance);
  },
);

function checkMayExpunge({ world, account }: Call): void {
  if (account.roleType !== "Admin" && !world.settings.usersMayExpunge)
    throw permissionDenied(
      account.name,
      "expunge: it can be passed by Admin only. Or when the allow.user.expunge.recover.vm key is set.",
    );
}

async function deleteNamedVolumes(call: Call, instance: InstanceRecord): Promise<void> {
  const ids = call.parameters.list("volumeids") ?? [];
  const volumes = call.world.volumesOf(instance.id).filter(({ id }) => ids.includes(id));
  if (volumes.length < ids.length)
    throw parameterError("The volumes to delete are not attached to this virtual machine");
  for (const volume of volumes) await removeVolume(call, volume, instance);
}

/** The volume in the root slot goes with the machine, wherever it came from; the others are set free. */
export async function expungeNow(call: ExpungeContext, instance: InstanceRecord): Promise<void> {
  instance.state = "Expunging";
  for (const volume of call.world.volumesOf(instance.id)) {
    if (volume.deviceId === 0) await removeVolume(call, volume, instance);
    else Object.assign(volume, { instanceId: undefined, deviceId: undefined, attached: undefined });
  }
  call.world.forget(instance);
}

type ExpungeContext = Pick<Call, "world" | "storage">;

async function removeVolume(
  { world, storage }: ExpungeContext,
  volume: VolumeRecord,
  instance: InstanceRecord,
): Promise<void> {
  if (volume.madeFor === "itself")
    world.violations.push(`volume ${volume.name} (${volume.id}) is lost with ${instance.name}`);
  Object.assign(volume, { state: "Expunged", instanceId: undefined, deviceId: undefined });
  await storage.remove(volume.id);
}
