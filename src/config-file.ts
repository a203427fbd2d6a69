import { readFileSync, statSync } from "node:fs";
import { isMap, LineCounter, parseDocument, type YAMLMap } from "yaml";
import { MigratekitError } from "./errors.ts";
import { fileProblem } from "./file-problem.ts";
import { type OptionName, options } from "./options.ts";

/** Texts of a configuration file's settings and where each stands, for messages. */
export interface ConfigFile {
  readonly values: ReadonlyMap<OptionName, string>;
  /** `FILE:LINE: field` of a field. */
  where(name: OptionName): string;
  readonly readableByOthers: boolean;
}

const mebibyte = 1024 * 1024;

/** Reads a YAML file whose fields are the flags' names. Errors name file and line. */
export function readConfigFile(path: string): ConfigFile {
  const yaml = readYaml(path, "--config");
  if (yaml.root === null) return noSettings(yaml);
  if (!isMap(yaml.root)) throw usage(`${path}:1: must be a list of "setting: value" lines`);
  return settingsOf(yaml.root, yaml, (name) => name === "config" && "cannot be set in itself");
}

/** A YAML document and where things stand in it. */
export interface YamlFile {
  readonly path: string;
  readonly root: unknown;
  readonly readableByOthers: boolean;
  /** `FILE:LINE` of a node. */
  where(node: unknown): string;
}

/**
 * `flag` names the file in messages; one larger than `sizeMax` MiB is not read.
 * @throws `usage` naming file and line
 */
export function readYaml(path: string, flag: string, sizeMax = 1): YamlFile {
  const { text, mode } = read(path, flag, sizeMax);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [syntax] = document.errors;
  if (syntax) {
    const line = lines.linePos(syntax.pos[0]).line;
    throw usage(`${path}:${line}: not valid YAML: ${syntax.message.split("\n")[0]}`);
  }
  return {
    path,
    root: document.contents,
    readableByOthers: (mode & 0o077) !== 0,
    where: (node) => `${path}:${lines.linePos(startOf(node)).line}`,
  };
}

/** The settings of a file that has none, or of one whose settings stand elsewhere in it. */
export function noSettings(yaml: YamlFile): ConfigFile {
  return { values: new Map(), where: () => yaml.path, readableByOthers: yaml.readableByOthers };
}

/**
 * The settings in a map. `obstacle` says why a setting may not stand in this place, or false; `others` are
 * fields besides settings, which are left for their own reader.
 * @throws `usage` naming file and line
 */
export function settingsOf(
  map: YAMLMap,
  yaml: YamlFile,
  obstacle: (name: OptionName) => string | false,
  others: readonly string[] = [],
): ConfigFile {
  const values = new Map<OptionName, string>();
  const places = new Map<OptionName, string>();
  for (const item of map.items) {
    const name = String(item.key);
    const place = yaml.where(item.key);
    if (others.includes(name)) continue;
    if (!isOptionName(name)) throw usage(`${place}: unknown setting${shownName(name, others)}`);
    const why = obstacle(name);
    if (why !== false) throw usage(`${place}: ${name} ${why}`);
    places.set(name, `${place}: ${name}`);
    values.set(name, fieldText(item.value, name, place));
  }
  return {
    values,
    where: (name) => places.get(name) ?? yaml.path,
    readableByOthers: yaml.readableByOthers,
  };
}

function startOf(node: unknown): number {
  const range = typeof node === "object" && node !== null && "range" in node ? node.range : [];
  const [start] = Array.isArray(range) ? range : [];
  return typeof start === "number" ? start : 0;
}

/** A name as it may have been meant; what looks like anything else may be a password out of place. */
function shownName(name: string, others: readonly string[]): string {
  return /^[a-z_-]{1,40}$/i.test(name) ? ` "${name}"${nearMiss(name, others)}` : "";
}

/** Whether a flag or field of this name (with dashes, without `--`) exists. */
export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(options, name);
}

/** ` (did you mean "x"?)` for a name that is nearly a setting's or another of those, else nothing. */
export function nearMiss(name: string, others: readonly string[] = []): string {
  const plain = name.toLowerCase().replaceAll("_", "-").replace(/^-+/, "");
  const near = [...Object.keys(options), ...others].find(
    (known) => known === plain || distanceAtMostTwo(known, plain),
  );
  return near === undefined ? "" : ` (did you mean "${near}"?)`;
}

function read(path: string, flag: string, sizeMax: number): { text: string; mode: number } {
  try {
    const stat = statSync(path);
    if (stat.size > sizeMax * mebibyte) throw usage(`${flag} ${path}: larger than ${sizeMax} MiB`);
    return { text: readFileSync(path, "utf8"), mode: stat.mode };
  } catch (error) {
    if (error instanceof MigratekitError) throw error;
    throw usage(`${flag} ${path}: cannot be read: ${fileProblem(error)}`, error);
  }
}

/** Settings that are lists of pairs, and what stands between the two: they may be maps. */
const pairs: Partial<Record<string, ":" | "=">> = {
  "nbd-targets": ":",
  "cloudstack-volumes": ":",
  network: "=",
};

/** The texts of a scalar, or of each of a list. @throws `usage` */
export function fieldTexts(node: unknown, name: string, place: string): string[] {
  const value = plainValue(node);
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  return items.map((item) => {
    if (!["string", "number", "boolean"].includes(typeof item)) throw noUse(name, place);
    return String(item);
  });
}

/** A scalar's text; lists are joined, and so are maps where the setting is one of pairs. */
function fieldText(node: unknown, name: string, place: string): string {
  const value = plainValue(node);
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) {
    return value.join(",");
  }
  const between = pairs[name];
  if (between !== undefined && typeof value === "object" && value !== null) {
    // The names of networks are whatever people called them.
    const escaped = (key: string) => (between === "=" ? key.replace(/[%,=]/g, escapeOne) : key);
    return Object.entries(value)
      .map(([key, other]) => `${escaped(key)}${between}${other}`)
      .join(",");
  }
  throw noUse(name, place);
}

function plainValue(node: unknown): unknown {
  return typeof node === "object" && node !== null && "toJSON" in node
    ? (node as { toJSON(): unknown }).toJSON()
    : node;
}

function noUse(name: string, place: string): MigratekitError {
  return usage(`${place}: ${name} has no value that can be used`);
}

function escapeOne(character: string): string {
  return `%${character.charCodeAt(0).toString(16)}`;
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
