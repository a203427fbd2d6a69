/** Things by the IDs in a command's parameters. What does not exist is told at once, as a wrong parameter. */

import { noSuchEntity } from "../api/api-error.ts";
import type { InstanceRecord, VolumeRecord } from "../world/records.ts";
import type { Call } from "./command.ts";

export function findById<T extends { readonly id: string }>(
  { parameters }: Call,
  name: string,
  items: Iterable<T>,
  id = parameters.required(name),
): T {
  for (const item of items) if (item.id === id) return item;
  throw noSuchEntity(parameters.command, name, id);
}

export function findInstance(call: Call, name = "id"): InstanceRecord {
  return findById(call, name, call.world.instances.values());
}

/** An expunged one is not there any more. */
export function findVolume(call: Call, name = "id"): VolumeRecord {
  const there = [...call.world.volumes.values()].filter(({ state }) => state !== "Expunged");
  return findById(call, name, there);
}
