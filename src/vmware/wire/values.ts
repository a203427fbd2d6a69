/**
 * Checked reading of decoded answers. The SOAP layer hands over whatever the endpoint sent; every value
 * goes through one of these functions before anything relies on it. All scalars arrive as text
 * (see soap-channel.ts), because a number parsed too early has already lost digits.
 */

import { MigratekitError } from "../../errors.ts";
import { oneLine } from "../../text.ts";

/** A managed object reference: its type (`VirtualMachine`) and its value (`vm-42`). */
export interface ObjectReference {
  readonly type: string;
  readonly moref: string;
}

/** Text of the required field `key`. An element that is there but empty is the empty string. */
export function text(parent: unknown, key: string): string {
  return optionalText(parent, key) ?? missing(key);
}

/** Text, or undefined where the field is absent. @throws `vsphere-protocol` */
export function optionalText(parent: unknown, key: string): string | undefined {
  const value = own(parent, key);
  return value === undefined ? undefined : textValue(value, key);
}

/** A whole number that a JavaScript number holds exactly. */
export function integer(parent: unknown, key: string): number {
  return optionalInteger(parent, key) ?? missing(key);
}

/** As `integer`; undefined where the field is absent. @throws `vsphere-protocol` */
export function optionalInteger(parent: unknown, key: string): number | undefined {
  const digits = optionalText(parent, key);
  if (digits === undefined) return undefined;
  const number = /^[+-]?\d{1,19}$/.test(digits.trim()) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(number)) wrong(key, "a whole number below 2^53", digits);
  return number;
}

/** A required flag, as `true`, `false`, `1` or `0`. @throws `vsphere-protocol` */
export function boolean(parent: unknown, key: string): boolean {
  return optionalBoolean(parent, key) ?? missing(key);
}

/** As `boolean`; undefined where the field is absent. @throws `vsphere-protocol` */
export function optionalBoolean(parent: unknown, key: string): boolean | undefined {
  const word = optionalText(parent, key)?.trim();
  if (word === undefined) return undefined;
  if (word === "true" || word === "1") return true;
  if (word === "false" || word === "0") return false;
  return wrong(key, "true or false", word);
}

/** A required reference to a managed object. @throws `vsphere-protocol` */
export function reference(parent: unknown, key: string): ObjectReference {
  return optionalReference(parent, key) ?? missing(key);
}

/** As `reference`; undefined where the field is absent. @throws `vsphere-protocol` */
export function optionalReference(parent: unknown, key: string): ObjectReference | undefined {
  const value = own(parent, key);
  return value === undefined ? undefined : referenceValue(value, key);
}

/**
 * A reference that is an item of a list; `key` is the list's name, for the message.
 * @throws `vsphere-protocol`
 */
export function referenceValue(value: unknown, key: string): ObjectReference {
  const moref = textValue(value, key);
  if (moref === "" || /\p{Cc}/u.test(moref)) wrong(key, "an object reference", moref);
  // Some servers qualify the attribute (xsi:type); the plain one is what the schema says.
  return { type: optionalText(attributesOf(value), "type") ?? typeOf(value) ?? "", moref };
}

/** The field as an object with fields of its own; an empty element counts as one without any. */
export function object(parent: unknown, key: string): object {
  return optionalObject(parent, key) ?? missing(key);
}

/** As `object`; undefined where the field is absent. @throws `vsphere-protocol` */
export function optionalObject(parent: unknown, key: string): object | undefined {
  if (typeof parent !== "object" || parent === null || !Object.hasOwn(parent, key))
    return undefined;
  const value: unknown = Reflect.get(parent, key);
  if (value === null || value === "") return {};
  if (typeof value !== "object" || Array.isArray(value)) wrong(key, "a structure", typeof value);
  return value as object;
}

/** The field as a list: absent is empty, one element need not have been declared an array. */
export function list(parent: unknown, key: string): readonly unknown[] {
  const value = own(parent, key);
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** Local name of the `xsi:type` of a value, whatever prefix the server chose. */
export function typeOf(value: unknown): string | undefined {
  const attributes = attributesOf(value);
  for (const [name, type] of Object.entries(attributes ?? {})) {
    if (name.endsWith(":type") && typeof type === "string")
      return type.slice(type.indexOf(":") + 1);
  }
  return undefined;
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the fields that are undefined. */
export function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Present<T>;
}

/** For an answer that contradicts the schema or itself. */
export function protocolError(message: string, cause?: unknown): MigratekitError {
  return new MigratekitError("vsphere-protocol", message, cause === undefined ? {} : { cause });
}

/** The text of an element with or without attributes. @throws `vsphere-protocol` */
function textValue(value: unknown, key: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const inner = own(value, "$value");
    if (typeof inner === "string") return inner;
    if (inner === undefined && Object.keys(value).every((name) => name === "attributes")) return "";
  }
  return wrong(key, "text", Array.isArray(value) ? "several values" : typeof value);
}

function own(parent: unknown, key: string): unknown {
  if (typeof parent !== "object" || parent === null || !Object.hasOwn(parent, key))
    return undefined;
  const value: unknown = Reflect.get(parent, key);
  return value === null ? undefined : value;
}

function attributesOf(value: unknown): object | undefined {
  const attributes = own(value, "attributes");
  return typeof attributes === "object" && attributes !== null ? attributes : undefined;
}

function missing(key: string): never {
  throw protocolError(`the endpoint's answer lacks the field "${key}"`);
}

function wrong(key: string, expected: string, seen: string): never {
  throw protocolError(
    `the endpoint's answer has "${oneLine(seen, 60)}" in the field "${key}" where ${expected} belongs`,
  );
}
