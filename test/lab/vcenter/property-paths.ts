/** Looks up property paths such as `config.hardware.device` in managed objects. */

import type { ManagedObject } from "./managed-object.ts";
import { isDataType, propertiesOf, propertyAt } from "./schema.ts";
import { VimFault } from "./vim-fault.ts";
import { isVimObject, Moref, Typed, type VimValue } from "./vim-values.ts";

/**
 * Value at a path, typed as an `anyType` field needs it; undefined when it is unset. Unset arrays are sent as
 * unset unless they are the property itself. Throws InvalidProperty when the type has no such path.
 */
export function propertyValue(object: ManagedObject, path: string): Typed | undefined {
  const field = propertyAt(object.ref.type, path);
  if (!field) {
    throw new VimFault("InvalidProperty", `The property ${path} could not be found.`, {
      name: path,
    });
  }
  const value = valueAt(object, path);
  if (value === undefined) return undefined;
  if (field.type === "anyType" && value instanceof Typed) return value;
  return new Typed(field.type, value, field.array);
}

/** References at a property path, for traversal. */
export function referencesAt(object: ManagedObject, path: string): Moref[] {
  const value = valueAt(object, path);
  if (value instanceof Moref) return [value];
  if (!Array.isArray(value)) return [];
  return (value as readonly VimValue[]).filter((item) => item instanceof Moref);
}

/** The properties that `all` stands for: those of the type that are set. */
export function allPaths(type: string): string[] {
  return propertiesOf(type)
    .filter((field) => field.type !== "anyType")
    .map((field) => field.name);
}

function valueAt(object: ManagedObject, path: string): VimValue | undefined {
  const [first, ...rest] = path.split(".");
  let value = keyed(object.property(withoutKey(first!)), first!);
  for (const segment of rest) {
    if (!isVimObject(value) || !isDataType(value.$type)) return undefined;
    value = keyed(value[withoutKey(segment)], segment);
  }
  return value;
}

function withoutKey(segment: string): string {
  return segment.replace(/\[.*\]$/, "");
}

/** `device[2000]` picks the array item whose `key` is 2000. */
function keyed(value: VimValue | undefined, segment: string): VimValue | undefined {
  const match = /\[(.*)\]$/.exec(segment);
  if (!match || !Array.isArray(value)) return value;
  const wanted = match[1]!.replaceAll('"', "");
  return (value as readonly VimValue[]).find(
    (item) => isVimObject(item) && String(item.key) === wanted,
  );
}
