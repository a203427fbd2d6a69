/** The vim25 schema as data: what types, properties and methods there are, and in which order fields go. */

import { dataTypesText, managedTypesText, methodsText } from "./schema-text.ts";

export interface SchemaField {
  readonly name: string;
  /** Type of one value: a scalar, `moref`, `anyType`, a data object, or an enumeration. */
  readonly type: string;
  readonly array: boolean;
  readonly optional: boolean;
}

export interface SchemaMethod {
  readonly name: string;
  readonly parameters: readonly SchemaField[];
  readonly returns: SchemaField | undefined;
}

interface SchemaType {
  readonly base: string | undefined;
  readonly ownFields: readonly SchemaField[];
}

const scalars = new Set(
  "string int long short byte boolean dateTime double float anyType moref".split(" "),
);
const dataTypes = readTypes(dataTypesText);
const managedTypes = readTypes(managedTypesText);
const methods = readMethods(methodsText);
const allFields = new Map<string, readonly SchemaField[]>();

export function isScalar(type: string): boolean {
  return scalars.has(type);
}

export function isDataType(type: string): boolean {
  return dataTypes.has(type);
}

export function methodNamed(name: string): SchemaMethod | undefined {
  return methods.get(name);
}

/** All fields of a data object, inherited ones first, as the wire has them. */
export function fieldsOf(type: string): readonly SchemaField[] {
  const known = allFields.get(type);
  if (known) return known;
  const definition = dataTypes.get(type);
  if (!definition) throw new Error(`The lab's schema has no data type ${type}`);
  const inherited = definition.base ? fieldsOf(definition.base) : [];
  const fields = [...inherited, ...definition.ownFields];
  allFields.set(type, fields);
  return fields;
}

export function isSubtype(type: string, ancestor: string): boolean {
  for (let at: string | undefined = type; at !== undefined; at = dataTypes.get(at)?.base) {
    if (at === ancestor) return true;
  }
  return false;
}

/** Whether a managed object of `type` answers to a filter for `ancestor` (ManagedEntity, …). */
export function isManagedSubtype(type: string, ancestor: string): boolean {
  for (let at: string | undefined = type; at !== undefined; at = managedTypes.get(at)?.base) {
    if (at === ancestor) return true;
  }
  return ancestor === "ManagedObject";
}

/** Names of all properties of a managed type, inherited ones first. */
export function propertiesOf(type: string): readonly SchemaField[] {
  const definition = managedTypes.get(type);
  if (!definition) return [];
  const inherited = definition.base ? propertiesOf(definition.base) : [];
  const own = new Set(definition.ownFields.map((field) => field.name));
  return [...inherited.filter((field) => !own.has(field.name)), ...definition.ownFields];
}

/**
 * The schema of a property path such as `config.hardware.device` or `config.hardware.device[2000]`;
 * undefined when the type has no such property (the server's InvalidProperty).
 */
export function propertyAt(managedType: string, path: string): SchemaField | undefined {
  const [first, ...rest] = path.split(".");
  let field = withKey(
    propertiesOf(managedType).find((candidate) => candidate.name === nameOf(first!)),
    first!,
  );
  for (const segment of rest) {
    if (!field || field.array || !isDataType(field.type)) return undefined;
    const owner = field.type;
    field = withKey(
      fieldsOf(owner).find((candidate) => candidate.name === nameOf(segment)),
      segment,
    );
  }
  return field;
}

function nameOf(segment: string): string {
  return segment.replace(/\[.*\]$/, "");
}

function withKey(field: SchemaField | undefined, segment: string): SchemaField | undefined {
  if (!field || !segment.endsWith("]")) return field;
  return field.array ? { ...field, array: false } : undefined;
}

function readTypes(text: string): Map<string, SchemaType> {
  const types = new Map<string, SchemaType>();
  for (const [head, body] of entries(text)) {
    const [name, base] = head.split(" < ");
    types.set(name!, { base, ownFields: readFields(body) });
  }
  return types;
}

function readMethods(text: string): Map<string, SchemaMethod> {
  const found = new Map<string, SchemaMethod>();
  for (const [name, body] of entries(text)) {
    const [parameters, returns] = body.split(" -> ");
    found.set(name, {
      name,
      parameters: readFields(parameters!),
      returns: returns === undefined ? undefined : readFields(`returnval ${returns}`)[0],
    });
  }
  return found;
}

function* entries(text: string): Generator<[string, string]> {
  const joined = text.trim().replace(/\n\s+/g, " ");
  for (const line of joined.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === -1) yield [line.trim(), ""];
    else yield [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  }
}

function readFields(body: string): SchemaField[] {
  if (body === "") return [];
  return body.split(", ").map((entry) => {
    const match = /^(\w+) (\w+)(\[\])?(\?)?$/.exec(entry.trim());
    if (!match) throw new Error(`The lab's schema has a bad field: ${entry}`);
    return {
      name: match[1]!,
      type: match[2]!,
      array: match[3] !== undefined,
      optional: match[4] !== undefined,
    };
  });
}
