/** Volumes: made, listed, deleted; whole GiB, and nothing on a pool before the first use. */

import { randomUUID } from "node:crypto";
import { ApiError, apiErrorCodes, parameterError } from "../api/api-error.ts";
import { gibibyte, type SnapshotRecord, timeText, type VolumeRecord } from "../world/records.ts";
import { volumeAnswer } from "./answers.ts";
import {
  type Call,
  type Command,
  containsText,
  isListed,
  listAnswer,
  newOwner,
  sameText,
  submit,
} from "./command.ts";
import { findById, findVolume } from "./find.ts";
import { hasTags } from "./tags.ts";

export const listVolumes: Command = {
  description: "Lists all volumes.",
  isAsync: false,
  parameters: "id ids name keyword virtualmachineid type state zoneid diskofferingid tags listall",
  run(call) {
    const { world, account, parameters } = call;
    if (parameters.text("id") !== undefined) findVolume(call);
    const vm = parameters.text("virtualmachineid");
    if (vm !== undefined) findById(call, "virtualmachineid", world.instances.values());
    const asked = {
      ids: parameters.list("ids") ?? parameters.list("id"),
      name: parameters.text("name"),
      keyword: parameters.text("keyword"),
      type: parameters.text("type"),
      state: parameters.text("state"),
      zone: parameters.text("zoneid"),
      offering: parameters.text("diskofferingid"),
    };
    const found = [...world.volumes.values()].filter(
      (volume) =>
        volume.state !== "Expunged" &&
        isListed(call, volume.owner) &&
        (asked.ids === undefined || asked.ids.includes(volume.id)) &&
        (asked.name === undefined || sameText(volume.name, asked.name)) &&
        (asked.keyword === undefined || containsText(volume.name, asked.keyword)) &&
        (vm === undefined || volume.instanceId === vm) &&
        (asked.type === undefined || sameText(volume.type, asked.type)) &&
        (asked.state === undefined || sameText(volume.state, asked.state)) &&
        (asked.zone === undefined || volume.zoneId === asked.zone) &&
        (asked.offering === undefined || volume.offeringId === asked.offering) &&
        hasTags(call, volume.id),
    );
    return listAnswer(
      parameters,
      "volume",
      found.map((volume) => ({
        ...volumeAnswer(world, volume),
        // Where it lies is told to administrators, once it lies somewhere.
        ...(account.roleType === "Admin" &&
          volume.state !== "Allocated" && {
            storageid: volume.pool.id,
            storage: volume.pool.name,
          }),
      })),
    );
  },
};

export const createVolume: Command = {
  description: "Creates a disk volume from a disk offering or a snapshot.",
  isAsync: true,
  parameters:
    "name diskofferingid size snapshotid zoneid virtualmachineid projectid account domainid",
  run(call) {
    const { world, storage, parameters } = call;
    const owner = newOwner(call);
    const snapshotId = parameters.text("snapshotid");
    const base = {
      ...{ id: randomUUID(), name: parameters.text("name") ?? `DATA-${randomUUID()}` },
      ...{ type: "DATADISK" as const, created: timeText(), madeFor: "itself" as const, owner },
      ...{ instanceId: undefined, deviceId: undefined, attached: undefined },
    };
    const volume = snapshotId === undefined ? emptyVolume(call, base) : fromSnapshot(call, base);
    world.checkLimit(owner, "volume", 1);
    world.checkLimit(owner, "primary_storage", Math.ceil(volume.sizeBytes / gibibyte));
    world.volumes.set(volume.id, volume);
    const job = submit(call, { type: "Volume", id: volume.id }, async () => {
      if (snapshotId !== undefined) {
        await storage.copy(snapshotId, volume.id);
        volume.state = "Ready";
      }
      return { volume: volumeAnswer(world, volume) };
    });
    return { id: volume.id, ...job };
  },
};

type VolumeBase = Omit<VolumeRecord, "state" | "sizeBytes" | "offeringId" | "pool" | "zoneId">;

function emptyVolume(call: Call, base: VolumeBase): VolumeRecord {
  const { world, parameters } = call;
  const offering = findById(call, "diskofferingid", world.catalogue.diskOfferings);
  const zone = findById(call, "zoneid", world.catalogue.zones);
  if (zone.allocationState === "Disabled" && call.account.roleType !== "Admin")
    throw new ApiError(
      apiErrorCodes.account,
      `Cannot perform this operation, Zone is currently disabled: ${zone.name}`,
    );
  const sizeGiB = parameters.integer("size");
  if (offering.sizeGiB === undefined && (sizeGiB === undefined || sizeGiB < 1))
    throw parameterError(
      "This disk offering requires a custom size specified: size in GB of 1 or more",
    );
  const size = offering.sizeGiB ?? sizeGiB!;
  return {
    ...{ ...base, state: "Allocated", sizeBytes: size * gibibyte },
    ...{ offeringId: offering.id, pool: offering.pool, zoneId: zone.id },
  };
}

function fromSnapshot(call: Call, base: VolumeBase): VolumeRecord {
  const { world, account } = call;
  const snapshot: SnapshotRecord = findById(call, "snapshotid", world.snapshots.values());
  world.checkOwned(account, snapshot.owner, `snapshot ${snapshot.id}`);
  if (snapshot.state !== "BackedUp")
    throw parameterError(`Snapshot id=${snapshot.id} is not in BackedUp state yet`);
  const [original] = world.catalogue.diskOfferings;
  return {
    ...{ ...base, state: "Creating", sizeBytes: snapshot.sizeBytes, snapshotId: snapshot.id },
    ...{ offeringId: original!.id, pool: original!.pool, zoneId: snapshot.zoneId },
  };
}

export const deleteVolume: Command = {
  description: "Deletes a detached disk volume.",
  isAsync: false,
  parameters: "id*",
  async run(call) {
    const { world, storage, account } = call;
    const volume = findVolume(call);
    world.checkOwned(account, volume.owner, `volume ${volume.id}`);
    if (volume.instanceId !== undefined)
      throw parameterError("Please specify a volume that is not attached to any VM.");
    const [holder] = storage.holders(volume.id);
    if (holder)
      world.violations.push(`volume ${volume.id} is deleted, and ${holder.pid} has it open`);
    volume.state = "Expunged";
    world.tags = world.tags.filter(({ resourceId }) => resourceId !== volume.id);
    await storage.remove(volume.id);
    return { success: true };
  },
};
