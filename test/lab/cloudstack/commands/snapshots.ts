/** Snapshots of volumes: a copy as they are at that moment. */

import { randomUUID } from "node:crypto";
import { parameterError } from "../api/api-error.ts";
import { type SnapshotRecord, timeText } from "../world/records.ts";
import { tagAnswers } from "./answers.ts";
import { type Call, type Command, isListed, listAnswer, ownerFields, submit } from "./command.ts";
import { findById, findVolume } from "./find.ts";
import { hasTags } from "./tags.ts";

function snapshotAnswer({ world }: Call, snapshot: SnapshotRecord): object {
  return {
    ...{ id: snapshot.id, name: snapshot.name, state: snapshot.state, created: snapshot.created },
    ...ownerFields(world, snapshot.owner),
    ...{ volumeid: snapshot.volumeId, volumename: snapshot.volumeName },
    ...{ volumetype: snapshot.volumeType, virtualsize: snapshot.sizeBytes, intervaltype: "MANUAL" },
    ...{ snapshottype: "MANUAL", locationtype: "Primary", revertable: false },
    ...{ zoneid: snapshot.zoneId, tags: tagAnswers(world, world.tagsOf(snapshot.id)) },
  };
}

export const createSnapshot: Command = {
  description: "Creates an instant snapshot of a volume.",
  isAsync: true,
  parameters: "volumeid* name",
  run(call) {
    const { world, storage, account, parameters } = call;
    const volume = findVolume(call, "volumeid");
    world.checkOwned(account, volume.owner, `volume ${volume.id}`);
    if (volume.state !== "Ready")
      throw parameterError(
        `VolumeId: ${volume.id} is not in Ready state but ${volume.state}. Cannot take snapshot.`,
      );
    world.checkLimit(volume.owner, "snapshot", 1);
    const snapshot: SnapshotRecord = {
      ...{ id: randomUUID(), name: parameters.text("name") ?? `${volume.name}_${timeText()}` },
      ...{ state: "BackingUp", volumeId: volume.id, volumeName: volume.name },
      ...{ volumeType: volume.type, sizeBytes: volume.sizeBytes, owner: volume.owner },
      ...{ zoneId: volume.zoneId, created: timeText() },
    };
    world.snapshots.set(snapshot.id, snapshot);
    const thing = { type: "Snapshot", id: snapshot.id, turn: volume.id };
    const job = submit(call, thing, async () => {
      await storage.copy(volume.id, snapshot.id);
      snapshot.state = "BackedUp";
      return { snapshot: snapshotAnswer(call, snapshot) };
    });
    return { id: snapshot.id, ...job };
  },
};

export const listSnapshots: Command = {
  description: "Lists all available snapshots for the account.",
  isAsync: false,
  parameters: "id ids volumeid name keyword tags listall",
  run(call) {
    const { world, parameters } = call;
    if (parameters.text("id") !== undefined) findById(call, "id", world.snapshots.values());
    const asked = {
      ids: parameters.list("ids") ?? parameters.list("id"),
      volume: parameters.text("volumeid"),
      name: parameters.text("name"),
    };
    const found = [...world.snapshots.values()].filter(
      (snapshot) =>
        isListed(call, snapshot.owner) &&
        (asked.ids === undefined || asked.ids.includes(snapshot.id)) &&
        (asked.volume === undefined || snapshot.volumeId === asked.volume) &&
        (asked.name === undefined || snapshot.name === asked.name) &&
        hasTags(call, snapshot.id),
    );
    const answers = found.map((snapshot) => snapshotAnswer(call, snapshot));
    return listAnswer(parameters, "snapshot", answers);
  },
};

export const deleteSnapshot: Command = {
  description: "Deletes a snapshot of a disk volume.",
  isAsync: true,
  parameters: "id*",
  run(call) {
    const { world, storage, account } = call;
    const snapshot = findById(call, "id", world.snapshots.values());
    return submit(call, { type: "Snapshot", id: snapshot.id }, async () => {
      world.checkOwned(account, snapshot.owner, `snapshot ${snapshot.id}`);
      world.snapshots.delete(snapshot.id);
      await storage.remove(snapshot.id);
      return { success: true };
    });
  },
};
