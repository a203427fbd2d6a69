/** Tags: what belongs to what, said in CloudStack itself. */

import type { Step } from "./step.ts";
import type { Parameters } from "./wire/signature.ts";

export interface Tagged {
  readonly kind: "Volume" | "UserVm";
  readonly id: string;
}

type Tags = Readonly<Record<string, string>>;

/** Sets those that are missing. CloudStack refuses to set one again, so what differs is taken off first. */
export function tagStep(
  { kind, id }: Tagged,
  tags: Tags,
  present: () => Promise<Tags>,
): Step<true> {
  return {
    what: `tag ${kind} ${id}`,
    command: "createTags",
    parameters: { resourcetype: kind, resourceids: id, ...pairsOf(tags) },
    look: async () => {
      const now = await present();
      return Object.entries(tags).every(([key, value]) => now[key] === value) ? true : undefined;
    },
  };
}

/** Of these keys, whatever their values. */
export function untagStep(
  { kind, id }: Tagged,
  keys: string[],
  present: () => Promise<Tags>,
): Step<true> {
  return {
    what: `take tags off ${kind} ${id}`,
    command: "deleteTags",
    parameters: {
      resourcetype: kind,
      resourceids: id,
      ...Object.fromEntries(keys.map((key, index) => [`tags[${index}].key`, key])),
    },
    look: async () => {
      const now = await present();
      return keys.every((key) => now[key] === undefined) ? true : undefined;
    },
  };
}

function pairsOf(tags: Tags): Parameters {
  return Object.fromEntries(
    Object.entries(tags).flatMap(([key, value], index) => [
      [`tags[${index}].key`, key],
      [`tags[${index}].value`, value],
    ]),
  );
}
