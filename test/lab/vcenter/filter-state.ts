/** One filter of a property collector: what it last reported, and what has changed since. */

import { type Lookup, type SelectedObject, selectObjects } from "./property-filter.ts";
import { type Moref, type VimObject, vimObject, writeField } from "./vim-values.ts";

const valueField = { name: "val", type: "anyType", array: false, optional: true };

/** Object -> its reference and what was said of each property, as XML. */
type Reported = Map<string, { ref: Moref; properties: Map<string, string> }>;

export class FilterState {
  readonly ref: Moref;
  readonly spec: VimObject;
  #reported: Reported = new Map();

  constructor(ref: Moref, spec: VimObject) {
    this.ref = ref;
    this.spec = spec;
  }

  /** Forgets what was reported: a client that asks with an empty version starts over. */
  restart(): void {
    this.#reported = new Map();
  }

  /** A PropertyFilterUpdate with what is new, or undefined. */
  update(lookup: Lookup): VimObject | undefined {
    const selected = selectObjects([this.spec], lookup, true);
    const updates: VimObject[] = [];
    const reported: Reported = new Map();
    for (const object of selected) {
      const before = this.#reported.get(object.ref.toString());
      const { properties, changes } = compare(object, before?.properties);
      reported.set(object.ref.toString(), { ref: object.ref, properties });
      if (before && changes.length === 0) continue;
      updates.push(
        vimObject("ObjectUpdate", {
          kind: before ? "modify" : "enter",
          obj: object.ref,
          changeSet: changes,
          missingSet: object.missing.map(({ path, fault }) =>
            vimObject("MissingProperty", { path, fault: fault.localized() }),
          ),
        }),
      );
    }
    for (const [key, { ref }] of this.#reported) {
      if (!reported.has(key)) updates.push(vimObject("ObjectUpdate", { kind: "leave", obj: ref }));
    }
    this.#reported = reported;
    if (updates.length === 0) return undefined;
    return vimObject("PropertyFilterUpdate", { filter: this.ref, objectSet: updates });
  }
}

function compare(object: SelectedObject, before: ReadonlyMap<string, string> | undefined) {
  const properties = new Map<string, string>();
  const changes: VimObject[] = [];
  for (const { name, value } of object.properties) {
    const out: string[] = [];
    writeField(out, valueField, value);
    const text = out.join("");
    properties.set(name, text);
    if (before?.get(name) !== text) {
      changes.push(vimObject("PropertyChange", { name, op: "assign", val: value }));
    }
  }
  for (const name of before?.keys() ?? []) {
    if (properties.has(name)) continue;
    changes.push(vimObject("PropertyChange", { name, op: "indirectRemove" }));
  }
  return { properties, changes };
}
