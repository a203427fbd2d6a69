import { readFileSync, statSync } from "node:fs";
import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { MigratekitError, messageOf } from "./errors.ts";
import { type OptionName, options } from "./options.ts";

/** Texts of a configuration file's fields and where each stands, for messages. */
export interface ConfigFile {
  readonly values: ReadonlyMap<OptionName, string>;
  /** `FILE:LINE: field` of a field. */
  where(name: OptionName): string;
  readonly readableByOthers: boolean;
}

const maxFileBytes = 1024 * 1024;

/** Reads a YAML file whose fields are the flags' names. Errors name file and line. */
export function readConfigFile(path: string): ConfigFile {
  const { text, mode } = read(path);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [syntax] = document.errors;
  if (syntax) {
    const line = lines.linePos(syntax.pos[0]).line;
    throw usage(`${path}:${line}: not valid YAML: ${syntax.message.split("\n")[0]}`);
  }
  const root = document.contents;
  if (root === null) return { values: new Map(), where: () => path, readableByOthers: false };
  if (!isMap(root)) throw usage(`${path}:1: must be a list of "setting: value" lines`);

  const values = new Map<OptionName, string>();
  const places = new Map<OptionName, string>();
  for (const item of root.items) {
    const name = String(item.key);
    const start = isScalar(item.key) ? (item.key.range?.[0] ?? 0) : 0;
    const place = `${path}:${lines.linePos(start).line}`;
    if (!isOptionName(name) || name === "config") {
      throw usage(`${place}: unknown setting "${name}"${nearMiss(name)}`);
    }
    places.set(name, `${place}: ${name}`);
    values.set(name, fieldText(item.value, name, place));
  }
  return {
    values,
    where: (name) => places.get(name) ?? path,
    readableByOthers: (mode & 0o077) !== 0,
  };
}

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(options, name);
}

/** ` (did you mean "x"?)` for a name that is nearly a setting's, else nothing. */
export function nearMiss(name: string): string {
  const plain = name.toLowerCase().replaceAll("_", "-").replace(/^-+/, "");
  const near = Object.keys(options).find(
    (known) => known === plain || distanceAtMostTwo(known, plain),
  );
  return near === undefined ? "" : ` (did you mean "${near}"?)`;
}

function read(path: string): { text: string; mode: number } {
  try {
    const stat = statSync(path);
    if (stat.size > maxFileBytes) throw usage(`--config ${path}: larger than 1 MiB`);
    return { text: readFileSync(path, "utf8"), mode: stat.mode };
  } catch (error) {
    if (error instanceof MigratekitError) throw error;
    throw usage(`--config ${path}: cannot be read: ${messageOf(error)}`, error);
  }
}

/** A scalar's text; `nbd-targets` may also be a map of device key to URI, lists are joined. */
function fieldText(node: unknown, name: string, place: string): string {
  const value: unknown =
    typeof node === "object" && node !== null && "toJSON" in node
      ? (node as { toJSON(): unknown }).toJSON()
      : node;
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) {
    return value.join(",");
  }
  if (name === "nbd-targets" && typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([key, uri]) => `${key}:${uri}`)
      .join(",");
  }
  throw usage(`${place}: ${name} has no value that can be used`);
}

function usage(message: string, cause?: unknown): MigratekitError {
  return new MigratekitError("usage", message, { cause });
}

function distanceAtMostTwo(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 2) return false;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replace, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return (previous[b.length] ?? 3) <= 2;
}
