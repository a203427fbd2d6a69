/** The YAML of `--vms` and of a fleet's plan: settings for all, an entry for each VM, what holds for the fleet. */
import { isMap, isSeq, type YAMLMap } from "yaml";
import {
  type ConfigFile,
  fieldTexts,
  noSettings,
  readYaml,
  settingsOf,
  type YamlFile,
} from "../../config-file.ts";
import { MigratekitError } from "../../errors.ts";
import { type OptionName, type OptionSpec, options } from "../../options.ts";

/** What a fleet alone heeds of an entry: when it is synced and cut over, and by whom. */
export const fleetFields = [
  ...["wave", "priority", "every", "schedule", "time-zone"],
  ...["sync-window", "cutover-window", "after", "labels"],
] as const;

/** Of the section `fleet:`. */
const fleetLimits = ["host-connections", "datastore-runs", "target-runs", "target-drop-time"];

export interface Field {
  /** Of a list each element's. */
  readonly texts: readonly string[];
  /** `FILE:LINE: NAME` */
  readonly place: string;
}

export type Fields = ReadonlyMap<string, Field>;

/** An entry, or the defaults. */
export interface ListEntry {
  /** `FILE:LINE` */
  readonly place: string;
  readonly settings: ConfigFile;
  /** Those of `fleetFields` that it has. */
  readonly fields: Fields;
}

export interface ListFile {
  readonly defaults: ListEntry;
  /** At least one. */
  readonly entries: readonly ListEntry[];
  /** Of the section `fleet:`. */
  readonly limits: Fields;
}

/** MiB: room for tens of thousands of VMs with what was noted of them. */
const sizeMax = 32;

/** What holds for the process as a whole. */
const ofTheWholeRun: readonly OptionName[] = [
  "vms",
  "parallel-vms",
  "host-connections",
  "memory",
  "stall-timeout",
  "flush-timeout",
  "config",
  "state-dir",
  "metrics-file",
  "json",
  "progress",
  "color",
  "quiet",
  "verbose",
  "debug",
  "yes",
];

/**
 * `flag` names the file in messages. What is wrong in one entry is told to `onMistake`, and the entry left out.
 * @throws MigratekitError `usage` naming file and line
 */
export function readListFile(
  path: string,
  flag: string,
  onMistake: (mistake: MigratekitError) => void,
): ListFile {
  const yaml = readYaml(path, flag, sizeMax);
  const { root } = yaml;
  if (!isMap(root)) throw usage(`${path}:1: must have the sections "defaults:" and "vms:"`);
  let defaults: ListEntry = { place: path, settings: noSettings(yaml), fields: new Map() };
  let entries: ListEntry[] = [];
  let limits: Fields = new Map();
  let vmCount = 0;
  for (const { key, value } of root.items) {
    const place = yaml.where(key);
    if (String(key) === "defaults") {
      if (!isMap(value)) throw usage(`${place}: defaults must hold settings`);
      defaults = entryOf(value, yaml);
    } else if (String(key) === "vms") {
      if (!isSeq(value)) throw usage(`${place}: vms must be a list of "- vmware-path: …" entries`);
      vmCount = value.items.length;
      entries = value.items.flatMap((item) => collected(onMistake, () => entryOf(item, yaml)));
    } else if (String(key) === "fleet") {
      if (!isMap(value)) throw usage(`${place}: fleet must hold limits`);
      refuseUnknownLimits(value, yaml);
      limits = fieldsOf(value, yaml, fleetLimits);
    } else {
      throw usage(`${place}: unknown section "${key}"; there are defaults, vms and fleet`);
    }
  }
  if (vmCount === 0) throw usage(`${path}: names no VM: it needs a list under "vms:"`);
  return { defaults, entries, limits };
}

/** What `work` gives, or nothing where that told of a mistake. */
export function collected<T>(
  onMistake: (mistake: MigratekitError) => void,
  work: () => T,
): [] | [T] {
  try {
    return [work()];
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    onMistake(error);
    return [];
  }
}

function entryOf(map: unknown, yaml: YamlFile): ListEntry {
  const place = yaml.where(map);
  if (!isMap(map)) throw usage(`${place}: must be "setting: value" lines, vmware-path first`);
  const settings = settingsOf(map, yaml, obstacle, fleetFields);
  return { place, settings, fields: fieldsOf(map, yaml, fleetFields) };
}

function fieldsOf(map: YAMLMap, yaml: YamlFile, names: readonly string[]): Fields {
  const fields = new Map<string, Field>();
  for (const { key, value } of map.items) {
    const name = String(key);
    if (!names.includes(name)) continue;
    const place = yaml.where(key);
    fields.set(name, { texts: fieldTexts(value, name, place), place: `${place}: ${name}` });
  }
  return fields;
}

function refuseUnknownLimits(map: YAMLMap, yaml: YamlFile): void {
  const unknown = map.items.find(({ key }) => !fleetLimits.includes(String(key)));
  if (unknown === undefined) return;
  const known = fleetLimits.join(", ");
  throw usage(`${yaml.where(unknown.key)}: fleet knows no "${unknown.key}"; there are ${known}`);
}

function obstacle(name: OptionName): string | false {
  if (ofTheWholeRun.includes(name)) {
    return "is not for one VM: give it on the command line or in --config FILE";
  }
  const { commands }: OptionSpec = options[name];
  const isOfOne = commands.includes("migrate") || commands.includes("cutover");
  return !isOfOne && "is not a setting of migrate or cutover";
}

function usage(message: string): MigratekitError {
  return new MigratekitError("usage", message);
}
