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
  /** Why a property of an object is reported missing although it is there. */
  refusal?(ref: Moref, path: string): VimFault | undefined;
}

/** An object that a specification selects, and what is to be said about it once its page is due. */
export interface Selection {
  readonly ref: Moref;
  readonly propertySpecs: readonly VimObject[];
}

/** Objects selected by the specs with their properties; see `select`. */
export function selectObjects(
  specs: readonly VimObject[],
  lookup: Lookup,
  tolerant = false,
): SelectedObject[] {
  return select(specs, lookup, tolerant)
    .map((selection) => contentOf(selection, lookup))
    .filter((content) => content !== undefined);
}

/**
 * Each object that the specs select, once. A start object that is gone raises ManagedObjectNotFound,
 * unless `tolerant` or the spec says that it may.
 */
export function select(specs: readonly VimObject[], lookup: Lookup, tolerant = false): Selection[] {
  const selected = new Map<string, Selection>();
  for (const spec of specs) {
    const all = objects(spec.propSet);
    const mayBeGone = tolerant || spec.reportMissingObjectsInResults === true;
    for (const objectSpec of objects(spec.objectSet)) {
      for (const { ref } of reach(objectSpec, lookup, mayBeGone)) {
        const propertySpecs = all.filter(({ type }) => isManagedSubtype(ref.type, String(type)));
        if (propertySpecs.length > 0) selected.set(ref.toString(), { ref, propertySpecs });
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

/** Undefined when the object has gone since it was selected. */
export function contentOf(
  { ref, propertySpecs }: Selection,
  lookup: Lookup,
): SelectedObject | undefined {
  const found = lookup.find(ref);
  if (!found) return undefined;
  const object = rememberingProperties(found);
  const paths = new Set(
    propertySpecs.flatMap((spec) =>
      spec.all === true ? allPaths(ref.type) : ((spec.pathSet ?? []) as string[]),
    ),
  );
  const properties: { name: string; value: Typed }[] = [];
  const missing: { path: string; fault: VimFault }[] = [];
  for (const path of paths) {
    const fault =
      !lookup.authenticated && ref.type !== "ServiceInstance"
        ? notAuthenticated(ref)
        : lookup.refusal?.(ref, path);
    const value = fault ? undefined : propertyValue(object, path);
    if (fault) missing.push({ path, fault });
    if (value) properties.push({ name: path, value });
  }
  return { ref, properties, missing };
}

/** Many paths begin alike (`config.…`): each first part is rendered once. */
function rememberingProperties(object: ManagedObject): ManagedObject {
  const known = new Map<string, VimValue | undefined>();
  return {
    ref: object.ref,
    property: (name) => {
      if (!known.has(name)) known.set(name, object.property(name));
      return known.get(name);
    },
  };
}

function objects(value: VimValue | undefined): readonly VimObject[] {
  return (value ?? []) as readonly VimObject[];
}
