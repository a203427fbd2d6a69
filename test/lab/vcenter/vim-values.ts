/** Values of vim25 in memory, and their serialization by the schema. */

import { fieldsOf, isDataType, isScalar, isSubtype, type SchemaField } from "./schema.ts";
import { escapeXml } from "./xml.ts";

/** Reference to a managed object, for example `VirtualMachine:vm-101`. */
export class Moref {
  readonly type: string;
  readonly value: string;
  constructor(type: string, value: string) {
    this.type = type;
    this.value = value;
  }
  toString(): string {
    return `${this.type}:${this.value}`;
  }
}

/** A value whose static type the schema leaves open (`anyType`). */
export class Typed {
  readonly type: string;
  readonly array: boolean;
  readonly value: VimValue;
  constructor(type: string, value: VimValue, array = false) {
    this.type = type;
    this.value = value;
    this.array = array;
  }
}

export type VimValue =
  | string
  | number
  | boolean
  | Date
  | Moref
  | Typed
  | VimObject
  | readonly VimValue[];

/** A data object; `$type` is its schema type, the other keys are its fields. */
export interface VimObject {
  readonly $type: string;
  readonly [field: string]: VimValue | undefined;
}

export function vimObject(
  $type: string,
  fields: Readonly<Record<string, VimValue | undefined>> = {},
): VimObject {
  return { ...fields, $type };
}

export function isVimObject(value: VimValue | undefined): value is VimObject {
  return (
    typeof value === "object" &&
    !Array.isArray(value) &&
    !(value instanceof Moref) &&
    !(value instanceof Typed) &&
    !(value instanceof Date)
  );
}

/** Appends one field (an element, or one per array item) to `out`, its fields in schema order. */
export function writeField(out: string[], field: SchemaField, value: VimValue): void {
  if (field.array && !Array.isArray(value)) throw new Error(`${field.name} wants an array`);
  const items = field.array ? (value as readonly VimValue[]) : [value];
  for (const item of items) writeElement(out, field.name, field.type, item);
}

function writeElement(out: string[], name: string, declared: string, value: VimValue): void {
  if (value instanceof Typed) writeTyped(out, name, declared, value);
  else if (isVimObject(value)) writeObject(out, name, declared, value);
  else if (declared === "anyType") throw new Error(`${name} needs a Typed value`);
  else if (value instanceof Moref) {
    out.push(`<${name} type="${escapeXml(value.type)}">${escapeXml(value.value)}</${name}>`);
  } else out.push(`<${name}>${scalarText(value, name)}</${name}>`);
}

/** An `anyType` carries its type: xsd's for scalars, the schema's for all others, ArrayOf… for arrays. */
function writeTyped(out: string[], name: string, declared: string, typed: Typed): void {
  if (declared !== "anyType") throw new Error(`${name} is no anyType`);
  if (typed.array) {
    const item = typed.type === "moref" ? "ManagedObjectReference" : typed.type;
    const arrayName = `ArrayOf${item[0]!.toUpperCase()}${item.slice(1)}`;
    out.push(`<${name} xsi:type="${arrayName}">`);
    writeField(
      out,
      { name: item, type: typed.type, array: true, optional: true },
      typed.value as readonly VimValue[],
    );
    out.push(`</${name}>`);
  } else if (isVimObject(typed.value)) writeObject(out, name, "", typed.value);
  else if (typed.value instanceof Moref) {
    const { type, value } = typed.value;
    out.push(
      `<${name} type="${escapeXml(type)}" xsi:type="ManagedObjectReference">${escapeXml(value)}</${name}>`,
    );
  } else {
    const xsi = isScalar(typed.type) ? `xsd:${typed.type}` : typed.type;
    out.push(`<${name} xsi:type="${xsi}">${scalarText(typed.value, name)}</${name}>`);
  }
}

function writeObject(out: string[], name: string, declared: string, value: VimObject): void {
  const actual = value.$type;
  if (declared !== "" && declared !== "anyType" && !isSubtype(actual, declared)) {
    throw new Error(`${name} is a ${actual}, which is no ${declared}`);
  }
  out.push(actual === declared ? `<${name}>` : `<${name} xsi:type="${actual}">`);
  writeFields(out, value);
  out.push(`</${name}>`);
}

/** The fields of a data object without an element around them. */
export function writeFields(out: string[], value: VimObject): void {
  const fields = fieldsOf(value.$type);
  for (const key of Object.keys(value)) {
    if (key !== "$type" && !fields.some((field) => field.name === key)) {
      throw new Error(`The schema has no field ${value.$type}.${key}`);
    }
  }
  for (const field of fields) {
    const item = value[field.name];
    if (item !== undefined) writeField(out, field, item);
    else if (!field.optional && !isOpaque(field.type)) {
      throw new Error(`Required field ${value.$type}.${field.name} is not set`);
    }
  }
}

/** Types the simulator's schema names but does not define: required ones among them cannot be given. */
function isOpaque(type: string): boolean {
  return !isScalar(type) && !isDataType(type);
}

function scalarText(value: VimValue, name: string): string {
  if (typeof value === "string") return escapeXml(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new Error(`${name} is not a safe integer: ${value}`);
    return String(value);
  }
  if (typeof value === "boolean") return String(value);
  if (value instanceof Date) return value.toISOString();
  throw new Error(`${name} cannot be written as a scalar`);
}
