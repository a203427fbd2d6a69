/** Tags of machines, volumes and snapshots. */

import { noSuchEntity, parameterError } from "../api/api-error.ts";
import type { Owner, ResourceType } from "../world/records.ts";
import { tagAnswers } from "./answers.ts";
import { type Call, type Command, isListed, listAnswer, sameText, submit } from "./command.ts";

const types: readonly ResourceType[] = ["UserVm", "Volume", "Snapshot"];

function typeOf({ parameters }: Call): ResourceType {
  const name = parameters.required("resourcetype");
  const type = types.find((each) => sameText(each, name));
  if (type === undefined) throw parameterError(`Invalid resource type ${name}`);
  return type;
}

function ownerOf({ world }: Call, type: ResourceType, id: string): Owner | undefined {
  const things = { UserVm: world.instances, Volume: world.volumes, Snapshot: world.snapshots };
  return things[type].get(id)?.owner;
}

/** Whether the thing has all tags that the list is asked for: `tags[0].key=…&tags[0].value=…`. */
export function hasTags({ world, parameters }: Call, resourceId: string): boolean {
  const own = world.tagsOf(resourceId);
  return parameters
    .entries("tags")
    .every(({ key, value }) =>
      own.some((tag) => tag.key === key && (value === undefined || tag.value === value)),
    );
}

export const listTags: Command = {
  description: "Lists resource tags.",
  isAsync: false,
  parameters: "resourcetype resourceid key value listall",
  run(call) {
    const { world, parameters } = call;
    const asked = {
      resourceType: parameters.text("resourcetype"),
      resourceId: parameters.text("resourceid"),
      key: parameters.text("key"),
      value: parameters.text("value"),
    };
    const names = ["resourceType", "resourceId", "key", "value"] as const;
    const found = world.tags.filter((tag) => {
      const owner = ownerOf(call, tag.resourceType, tag.resourceId);
      return (
        owner !== undefined &&
        isListed(call, owner) &&
        names.every((name) => asked[name] === undefined || sameText(tag[name], asked[name]))
      );
    });
    return listAnswer(parameters, "tag", tagAnswers(world, found));
  },
};

export const createTags: Command = {
  description: "Creates resource tags.",
  isAsync: true,
  parameters: "resourceids* resourcetype* tags*",
  run(call) {
    const { world, account, parameters } = call;
    const type = typeOf(call);
    parameters.required("resourceids");
    const ids = parameters.list("resourceids") ?? [];
    const wanted = Object.entries(parameters.map("tags"));
    if (wanted.length === 0) throw parameterError("missing parameter tags");
    const unknown = ids.find((id) => ownerOf(call, type, id) === undefined);
    if (unknown) throw noSuchEntity(parameters.command, "resourceids", unknown);
    return submit(call, { type: "None", id: ids[0]! }, async () => {
      for (const id of ids) world.checkOwned(account, ownerOf(call, type, id)!, `${type} ${id}`);
      const twice = ids
        .flatMap((id) => world.tagsOf(id))
        .find((tag) => wanted.some(([key]) => key === tag.key));
      if (twice)
        throw parameterError(`tag ${twice.key} already on ${type} with id ${twice.resourceId}`);
      for (const resourceId of ids)
        for (const [key, value] of wanted)
          world.tags.push({ resourceType: type, resourceId, key, value });
      return { success: true };
    });
  },
};

export const deleteTags: Command = {
  description: "Deletes resource tags.",
  isAsync: true,
  parameters: "resourceids* resourcetype* tags",
  run(call) {
    const { world, account, parameters } = call;
    const type = typeOf(call);
    parameters.required("resourceids");
    const ids = parameters.list("resourceids") ?? [];
    const keys = Object.keys(parameters.map("tags"));
    return submit(call, { type: "None", id: ids[0]! }, async () => {
      for (const id of ids) {
        const owner = ownerOf(call, type, id);
        if (owner) world.checkOwned(account, owner, `${type} ${id}`);
      }
      world.tags = world.tags.filter(
        (tag) => !ids.includes(tag.resourceId) || (keys.length > 0 && !keys.includes(tag.key)),
      );
      return { success: true };
    });
  },
};
