/** Evaluates a PropertyFilterSpec: which objects it selects, and what it says about each. */

import type { ManagedObject } from "./managed-object.ts";
import { allPaths, propertyValue, referencesAt } from "./property-paths.ts";
import { isManagedSubtype } from "./schema.ts";
import { invalidArgument, notAuthenticated, objectNotFound, type VimFault } from "./vim-fault.ts";
import { type Moref, type Typed, type VimObject, type VimValue, vimObject } from "./vim-values.ts";

export interface SelectedObject {
  readonly ref: Moref;
  readonly properties: readonly { readonly name: string; readonly value: Typed }[];
  readonly missing: readonly { readonly path: string; readonly fault: VimFault }[];
}

export interface Lookup {
  find(ref: Moref): ManagedObject | undefined;
  /** False: properties are reported missing with NotAuthenticated, as vCenter does without a session. */
  readonly authenticated: boolean;
}

/**
 * Objects selected by the specs with their properties. A start object that is gone raises
 * ManagedObjectNotFound, unless `tolerant`.
 */
export function selectObjects(
  specs: readonly VimObject[],
  lookup: Lookup,
  tolerant = false,
): SelectedObject[] {
  const selected = new Map<string, SelectedObject>();
  for (const spec of specs) {
    const propertySpecs = objects(spec.propSet);
    for (const objectSpec of objects(spec.objectSet)) {
      for (const object of reach(objectSpec, lookup, tolerant)) {
        const content = contentOf(object, propertySpecs, lookup);
        if (content) selected.set(object.ref.toString(), content);
      }
    }
  }
  return [...selected.values()];
}

export function objectContent(selected: SelectedObject): VimObject {
  return vimObject("ObjectContent", {
    obj: selected.ref,
    propSet: selected.properties.map(({ name, value }) =>
      vimObject("DynamicProperty", { name, val: value }),
    ),
    missingSet: selected.missing.map(({ path, fault }) =>
      vimObject("MissingProperty", { path, fault: fault.localized() }),
    ),
  });
}

/** The start object unless skipped, and all that its selection set leads to. */
function reach(objectSpec: VimObject, lookup: Lookup, tolerant: boolean): ManagedObject[] {
  const startRef = objectSpec.obj as Moref;
  const start = lookup.find(startRef);
  if (!start) {
    if (tolerant) return [];
    throw objectNotFound(startRef);
  }
  const reached: ManagedObject[] = objectSpec.skip === true ? [] : [start];
  const named = new Map<string, VimObject>();
  collectNamed(objects(objectSpec.selectSet), named);
  const visited = new Set<string>();
  const walk = (object: ManagedObject, selections: readonly VimObject[]) => {
    for (const selection of selections) {
      const traversal = resolve(selection, named);
      if (!isManagedSubtype(object.ref.type, String(traversal.type))) continue;
      for (const ref of referencesAt(object, String(traversal.path))) {
        const next = lookup.find(ref);
        const step = `${ref}|${String(traversal.name ?? "")}|${String(traversal.path)}`;
        if (!next || visited.has(step)) continue;
        visited.add(step);
        if (traversal.skip !== true) reached.push(next);
        walk(next, objects(traversal.selectSet));
      }
    }
  };
  walk(start, objects(objectSpec.selectSet));
  return reached;
}

function collectNamed(selections: readonly VimObject[], named: Map<string, VimObject>): void {
  for (const selection of selections) {
    if (selection.$type !== "TraversalSpec") continue;
    if (typeof selection.name === "string") named.set(selection.name, selection);
    collectNamed(objects(selection.selectSet), named);
  }
}

/** A selection is a traversal, or the name of one. */
function resolve(selection: VimObject, named: ReadonlyMap<string, VimObject>): VimObject {
  if (selection.$type === "TraversalSpec") return selection;
  const traversal = named.get(String(selection.name));
  if (!traversal) throw invalidArgument("selectSet");
  return traversal;
}

function contentOf(
  object: ManagedObject,
  propertySpecs: readonly VimObject[],
  lookup: Lookup,
): SelectedObject | undefined {
  const matching = propertySpecs.filter((spec) =>
    isManagedSubtype(object.ref.type, String(spec.type)),
  );
  if (matching.length === 0) return undefined;
  const paths = new Set(
    matching.flatMap((spec) =>
      spec.all === true ? allPaths(object.ref.type) : ((spec.pathSet ?? []) as string[]),
    ),
  );
  const properties: { name: string; value: Typed }[] = [];
  const missing: { path: string; fault: VimFault }[] = [];
  for (const path of paths) {
    if (!lookup.authenticated && object.ref.type !== "ServiceInstance") {
      missing.push({ path, fault: notAuthenticated(object.ref) });
      continue;
    }
    const value = propertyValue(object, path);
    if (value) properties.push({ name: path, value });
  }
  return { ref: object.ref, properties, missing };
}

function objects(value: VimValue | undefined): readonly VimObject[] {
  return (value ?? []) as readonly VimObject[];
}
