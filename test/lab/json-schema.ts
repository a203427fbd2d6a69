/**
 * What of JSON Schema the pages in docs/json/ use, checked strictly: a field that a schema does not name
 * is a breach here, although a reader of the documents has to expect new ones.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

type Schema = Readonly<{
  $ref?: string;
  $defs?: Record<string, Schema>;
  type?: string | readonly string[];
  enum?: readonly unknown[];
  oneOf?: readonly Schema[];
  properties?: Record<string, Schema>;
  required?: readonly string[];
  additionalProperties?: Schema;
  items?: Schema;
  minimum?: number;
  maximum?: number;
  pattern?: string;
}>;

const folder = join(import.meta.dirname, "../../docs/json");
const read = new Map<string, Schema>();

export function schemaPath(name: string): string {
  return join(folder, `${name}.schema.json`);
}

/** Of a command; undefined: it has none. */
export function schemaOf(name: string): Schema | undefined {
  if (!existsSync(schemaPath(name))) return undefined;
  const known = read.get(name) ?? (JSON.parse(readFileSync(schemaPath(name), "utf8")) as Schema);
  read.set(name, known);
  return known;
}

/** What is wrong with a document of this command; empty: nothing. */
export function breachesOf(name: string, document: unknown): string[] {
  const schema = schemaOf(name);
  return schema === undefined ? [`${name} has no schema`] : check(schema, document, "", name);
}

function check(schema: Schema, value: unknown, at: string, page: string): string[] {
  if (schema.$ref !== undefined) {
    const target = resolve(schema.$ref, page);
    return check(target.schema, value, at, target.page);
  }
  if (schema.oneOf !== undefined) {
    const tries = schema.oneOf.map((one) => check(one, value, at, page));
    if (tries.filter((breaches) => breaches.length === 0).length === 1) return [];
    return tries.sort((a, b) => a.length - b.length)[0] ?? [];
  }
  const where = at === "" ? "the document" : at;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${where} is ${value}`];
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length > 0 && !types.some((type) => isOfType(type, value))) {
    return [`${where} is ${JSON.stringify(value)}, not ${types.join(" or ")}`];
  }
  if (typeof value === "number") {
    const { minimum = -Infinity, maximum = Infinity } = schema;
    if (value < minimum || value > maximum) return [`${where} is ${value}`];
  }
  if (typeof value === "string" && schema.pattern && !new RegExp(schema.pattern).test(value)) {
    return [`${where} is ${value}`];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, i) => check(schema.items ?? {}, item, `${at}[${i}]`, page));
  }
  if (typeof value === "object" && value !== null) return checkObject(schema, value, at, page);
  return [];
}

function checkObject(schema: Schema, value: object, at: string, page: string): string[] {
  const { properties = {}, required = [], additionalProperties } = schema;
  const missing = required.filter((name) => !(name in value));
  return [
    ...missing.map((name) => `${at}.${name} is missing`),
    ...Object.entries(value).flatMap(([name, field]) => {
      const place = at === "" ? name : `${at}.${name}`;
      const own = properties[name] ?? additionalProperties;
      if (!/^[a-z][a-z0-9_]*$/.test(name)) return [`${place} is no snake_case`];
      return own === undefined ? [`${place} is not described`] : check(own, field, place, page);
    }),
  ];
}

/** `#/$defs/x` of the page itself, or `common.schema.json#/$defs/x`. */
function resolve(reference: string, page: string): { schema: Schema; page: string } {
  const [, other, name] = /^(?:([\w-]+)\.schema\.json)?#\/\$defs\/(\w+)$/.exec(reference) ?? [];
  const from = other ?? page;
  const schema = name === undefined ? undefined : schemaOf(from)?.$defs?.[name];
  if (schema === undefined) throw new Error(`${page}: ${reference} leads nowhere`);
  return { schema, page: from };
}

function isOfType(type: string, value: unknown): boolean {
  if (type === "integer") return Number.isSafeInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object")
    return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}
