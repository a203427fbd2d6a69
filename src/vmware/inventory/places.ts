/**
 * What the paths of machines are made of: datacenters, folders, vApps. vCenter keeps names with `/`, `\` and `%`
 * escaped (`%2f`, `%5c`, `%25`, either case), so paths are compared unescaped.
 */

import type { ObjectProperties } from "../wire/retrieve-properties.ts";
import { type ObjectReference, optionalReference, optionalText } from "../wire/values.ts";

/** Of each type of place. */
export const placeProperties = {
  Datacenter: ["name", "parent"],
  Folder: ["name", "parent"],
  VirtualApp: ["name", "parent", "parentFolder"],
} as const;

/** Of a machine, to tell its path. */
export const pathProperties = ["name", "parent", "parentVApp"] as const;

export interface Place extends ObjectReference {
  /** `/Datacenter/vm/Folder`, escaped as the endpoint escapes it. */
  readonly path: string;
}

export class Places {
  readonly #known = new Map<string, { type: string; name: string; parent: string | undefined }>();

  add(place: ObjectProperties): void {
    const { type, moref } = place.object;
    this.#known.set(moref, { type, name: nameOf(place), parent: parentOf(place) });
  }

  /** Of a place or of a machine; as far up as the account sees what is above it. */
  pathOf(entity: ObjectProperties): string {
    return this.#path([nameOf(entity)], parentOf(entity));
  }

  all(): Place[] {
    return [...this.#known].map(([moref, { type, name, parent }]) => ({
      ...{ type, moref, path: this.#path([name], parent) },
    }));
  }

  #path(names: string[], above: string | undefined): string {
    const depthMax = 100; // a cycle would be the endpoint's mistake, and must not be our loop
    for (let moref = above; moref !== undefined && names.length < depthMax; ) {
      const place = this.#known.get(moref);
      if (place === undefined) break;
      names.unshift(place.name);
      moref = place.parent;
    }
    return `/${names.join("/")}`;
  }
}

/** What the path names as the next level up: a vApp or its folder rather than a resource pool. */
function parentOf(entity: ObjectProperties): string | undefined {
  for (const path of ["parentVApp", "parentFolder", "parent"]) {
    const parent = entity.has(path) ? optionalReference(entity.get(path), "val") : undefined;
    if (parent) return parent.moref;
  }
  return undefined;
}

function nameOf(entity: ObjectProperties): string {
  return entity.has("name") ? (optionalText(entity.get("name"), "val") ?? "") : "";
}

/** Two paths that name the same object have the same comparable form. */
export function comparable(path: string): string {
  const names = path.split("/").filter((name) => name !== "");
  return JSON.stringify(names.map((name) => unescapeName(name).normalize("NFC")));
}

/** A name as a person knows it. */
export function unescapeName(name: string): string {
  return name.replace(/%(2f|5c|25)/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}
