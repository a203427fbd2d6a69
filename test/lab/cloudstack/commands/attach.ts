/** Volumes at machines and off them. Nearly all is judged inside the job. */

import { internalError, parameterError } from "../api/api-error.ts";
import { describeHolder } from "../hypervisor/storage.ts";
import { type InstanceRecord, timeText, type VolumeRecord } from "../world/records.ts";
import { volumeAnswer } from "./answers.ts";
import { type Call, type Command, submit } from "./command.ts";
import { findInstance, findVolume } from "./find.ts";

export const attachVolume: Command = {
  description: "Attaches a disk volume to a virtual machine.",
  isAsync: true,
  parameters: "id* virtualmachineid* deviceid",
  run(call) {
    const { world, storage, account, parameters } = call;
    const volume = findVolume(call);
    const instance = findInstance(call, "virtualmachineid");
    const wanted = parameters.integer("deviceid");
    const thing = { type: "Volume", id: volume.id, turn: instance.id };
    return submit(call, thing, async () => {
      world.checkOwned(account, volume.owner, `volume ${volume.id}`);
      world.checkOwned(account, instance.owner, `virtual machine ${instance.id}`);
      world.checkSameOwner(volume.owner, instance.owner);
      checkAttachable(call, volume, instance, wanted);
      const deviceId = wanted ?? freeDevice(call, instance);
      const [holder] = storage.holders(volume.id);
      if (holder)
        world.violations.push(
          `volume ${volume.id} is attached to ${instance.name} while ${describeHolder(holder)} has it open`,
        );
      // Before anything is waited for: no second job may take the volume or the slot.
      volume.instanceId = instance.id;
      volume.deviceId = deviceId;
      volume.attached = timeText();
      if (deviceId === 0) volume.type = "ROOT";
      if (instance.state === "Running") {
        await storage.provide(volume);
        volume.state = "Ready";
        await storage.plug(volume.id);
      }
      return { volume: volumeAnswer(world, volume) };
    });
  },
};

function checkAttachable(
  { world }: Call,
  volume: VolumeRecord,
  instance: InstanceRecord,
  deviceId: number | undefined,
): void {
  if (volume.instanceId !== undefined)
    throw parameterError("Please specify a volume that is not attached to any VM.");
  if (volume.state !== "Allocated" && volume.state !== "Ready")
    throw parameterError("Please specify a volume that is not destroyed.");
  if (instance.state !== "Running" && instance.state !== "Stopped")
    throw parameterError("Please specify a VM that is either running or stopped.");
  if (instance.zoneId !== volume.zoneId)
    throw parameterError("Please specify a VM that is in the same zone as the volume.");
  const devices = world.volumesOf(instance.id);
  if (deviceId === 0) {
    checkRootChange(volume, instance);
    if (devices.some((each) => each.deviceId === 0))
      throw parameterError("Vm already has root volume attached to it");
    return;
  }
  const max = world.settings.dataVolumesMax;
  if (devices.filter(({ type }) => type === "DATADISK").length >= max)
    throw parameterError(
      `The specified VM already has the maximum number of data disks (${max}) attached. Please specify another VM.`,
    );
  if (devices.some((each) => each.deviceId === deviceId))
    throw internalError(`deviceId ${deviceId} is used by vm ${instance.id}`);
  // The appliance's devices are links; a disk that comes to a running QEMU is not played here.
  if (instance.state === "Running" && !instance.isAppliance)
    throw internalError("this host does not plug disks into a running machine");
}

/** Of the root slot, which is changed only while the machine is off, and never on a managed pool. */
function checkRootChange(volume: VolumeRecord, instance: InstanceRecord): void {
  if (instance.state !== "Stopped")
    throw parameterError(
      "Root volume detach can happen only when vm is in states: Stopped or Destroyed",
    );
  if (volume.state !== "Allocated" && volume.pool.managed)
    throw parameterError("Root volume detach is not supported for Managed DataStores");
}

/** 3 is the CD's. */
function freeDevice({ world }: Call, instance: InstanceRecord): number {
  const used = new Set(world.volumesOf(instance.id).map(({ deviceId }) => deviceId));
  for (let device = 1; ; device++) if (device !== 3 && !used.has(device)) return device;
}

export const detachVolume: Command = {
  description: "Detaches a disk volume from a virtual machine.",
  isAsync: true,
  parameters: "id virtualmachineid deviceid",
  run(call) {
    const { world, storage, account } = call;
    const volume = volumeToDetach(call);
    const turn = volume.instanceId ?? volume.id;
    return submit(call, { type: "Volume", id: volume.id, turn }, async () => {
      world.checkOwned(account, volume.owner, `volume ${volume.id}`);
      const instance = volume.instanceId && world.instances.get(volume.instanceId);
      if (!instance) throw parameterError("The specified volume is not attached to a VM.");
      if (!["Running", "Stopped", "Destroyed"].includes(instance.state))
        throw parameterError("Please specify a VM that is either running or stopped.");
      if (volume.type === "ROOT") checkRootChange(volume, instance);
      if (instance.state === "Running") {
        if (!instance.isAppliance)
          throw internalError("this host does not unplug disks from a running machine");
        await storage.unplug(volume.id, world.settings.detachTimeoutMs);
      }
      volume.instanceId = undefined;
      volume.deviceId = undefined;
      volume.attached = undefined;
      volume.type = "DATADISK";
      return { volume: volumeAnswer(world, volume) };
    });
  },
};

function volumeToDetach(call: Call): VolumeRecord {
  const { world, parameters } = call;
  if (parameters.text("id") !== undefined) return findVolume(call);
  const instance = findInstance(call, "virtualmachineid");
  const device = parameters.integer("deviceid");
  const found = world.volumesOf(instance.id).find(({ deviceId }) => deviceId === device);
  if (found === undefined)
    throw parameterError(`Unable to find volume with device ID ${device} at ${instance.id}`);
  return found;
}
