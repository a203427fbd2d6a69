/** `--vms FILE`: several VMs, each with its own settings, checked before the first one starts. */
import { isMap, isSeq, type YAMLMap } from "yaml";
import {
  type Config,
  type Environment,
  type GivenFlags,
  requireSettings,
  resolveConfig,
} from "../../config.ts";
import {
  type ConfigFile,
  noSettings,
  readYaml,
  settingsOf,
  type YamlFile,
} from "../../config-file.ts";
import { MigratekitError } from "../../errors.ts";
import { parseTargets } from "../../nbd/target/target.ts";
import { nbdUri, targetIdentity } from "../../nbd/target/uri.ts";
import { type OptionName, type OptionSpec, options } from "../../options.ts";
import { checkVolumeFlags } from "../volumes/volumes.ts";

export interface ListedVm {
  /** The last part of its path, or all of it where two VMs share that part. */
  readonly name: string;
  /** `FILE:LINE` of its entry. */
  readonly place: string;
  readonly config: Config;
}

/** MiB: room for tens of thousands of VMs with what was noted of them. */
const sizeMax = 32;

/** What holds for the process as a whole. */
const ofTheWholeRun: readonly OptionName[] = [
  "vms",
  "parallel-vms",
  "host-connections",
  "max-rate",
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
];

/**
 * Reads the list. A VM's own setting beats a flag, then come variables, `defaults:` and `--config`.
 * @throws MigratekitError `usage` naming file and line
 */
export function readVmList(path: string, flags: GivenFlags, environment?: Environment): ListedVm[] {
  if (flags.has("vmware-path")) throw usage("--vmware-path and --vms exclude each other");
  const yaml = readYaml(path, "--vms", sizeMax);
  const { defaults, entries } = readSections(yaml);
  const found = entries.map((entry) => {
    const place = yaml.where(entry);
    const own = settingsOf(entry, yaml, obstacle);
    const config = checkedConfig(place, flags, environment, { own, defaults });
    return { place, config };
  });
  refuseDoubles(found);
  const names = namesOf(found.map(({ config }) => config.vmwarePath ?? ""));
  return found.map((vm, at) => ({ ...vm, name: names[at]! }));
}

function readSections(yaml: YamlFile): { defaults: ConfigFile; entries: YAMLMap[] } {
  const { root, path } = yaml;
  if (!isMap(root)) throw usage(`${path}:1: must have the sections "defaults:" and "vms:"`);
  let defaults = noSettings(yaml);
  let entries: YAMLMap[] = [];
  for (const { key, value } of root.items) {
    const place = yaml.where(key);
    if (String(key) === "defaults") {
      if (value === null || !isMap(value)) throw usage(`${place}: defaults must hold settings`);
      defaults = settingsOf(value, yaml, obstacle);
    } else if (String(key) === "vms") {
      if (!isSeq(value)) throw usage(`${place}: vms must be a list of "- vmware-path: …" entries`);
      entries = value.items.map((entry) => {
        if (isMap(entry)) return entry;
        throw usage(`${yaml.where(entry)}: must be "setting: value" lines, vmware-path first`);
      });
    } else {
      throw usage(`${place}: unknown section "${key}"; there are defaults and vms`);
    }
  }
  if (entries.length === 0) throw usage(`${path}: names no VM: it needs a list under "vms:"`);
  return { defaults, entries };
}

function obstacle(name: OptionName): string | false {
  if (ofTheWholeRun.includes(name)) {
    return "is not for one VM: give it on the command line or in --config FILE";
  }
  const spec: OptionSpec = options[name];
  return !spec.commands.includes("migrate") && "is not a setting of migrate";
}

function checkedConfig(
  place: string,
  flags: GivenFlags,
  environment: Environment | undefined,
  list: { own: ConfigFile; defaults: ConfigFile },
): Config {
  const config = resolveConfig("migrate", flags, environment, list);
  try {
    requireSettings(config, "vmware-path", "vmware-endpoint", "vmware-username", "vmware-password");
    if (config.nbdTargets !== undefined) parseTargets(config.nbdTargets);
    checkVolumeFlags(config);
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    const message = error.message.startsWith(place) ? error.message : `${place}: ${error.message}`;
    throw new MigratekitError(error.code, message, { remedy: error.remedy, cause: error });
  }
  return config;
}

/** One VM twice, one progress job for two, or two disks on one volume: none can end well. */
function refuseDoubles(vms: readonly { place: string; config: Config }[]): void {
  const seen = new Map<string, string>();
  for (const { place, config } of vms) {
    for (const [what, value] of onceOnly(config)) {
      const id = `${what} ${value}`;
      const first = seen.get(id);
      if (first !== undefined) {
        throw usage(`${place}: ${what} ${value} is that of the entry at ${first} already`);
      }
      seen.set(id, place);
    }
  }
}

function onceOnly(config: Config): [string, string][] {
  const { vmwareEndpoint, vmwarePath, jobId } = config;
  return [
    ["the VM", `${vmwarePath} at ${vmwareEndpoint?.host.toLowerCase()}:${vmwareEndpoint?.port}`],
    ...(jobId === undefined ? [] : [["the job", jobId] as [string, string]]),
    ...targetsOnceOnly(config),
  ];
}

function targetsOnceOnly(config: Config): [string, string][] {
  const { nbdHost, nbdPort, nbdExportName, nbdTargets, cloudstackVolumes } = config;
  if (cloudstackVolumes === "create") return []; // each VM's own
  if (cloudstackVolumes !== undefined)
    return [...cloudstackVolumes.values()].map((id) => ["the volume", id]);
  const uris =
    nbdTargets === undefined
      ? [nbdUri(nbdHost, nbdPort, nbdExportName)]
      : [...parseTargets(nbdTargets).values()];
  return uris.map((uri) => ["the target", targetIdentity(uri)]);
}

function namesOf(paths: readonly string[]): string[] {
  const sameName = Map.groupBy(paths, lastPart);
  return paths.map((path) => (sameName.get(lastPart(path))!.length > 1 ? path : lastPart(path)));
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function usage(message: string): MigratekitError {
  return new MigratekitError("usage", message);
}
