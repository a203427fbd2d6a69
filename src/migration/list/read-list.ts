/** `--vms FILE`: several VMs, each with its own settings, checked before the first one starts. */
import {
  type Config,
  configsOf,
  type Environment,
  endpointText,
  type GivenFlags,
  requireSettings,
} from "../../config.ts";
import type { ConfigFile } from "../../config-file.ts";
import { MigratekitError } from "../../errors.ts";
import { parseTargets } from "../../nbd/target/target.ts";
import { nbdUri, targetIdentity } from "../../nbd/target/uri.ts";
import { checkVolumeFlags } from "../volumes/volumes.ts";
import { fleetFields, type ListEntry, readListFile } from "./list-file.ts";

export interface ListedVm {
  /** The last part of its path, or as much as tells it from the others. */
  readonly name: string;
  /** `FILE:LINE` of its entry. */
  readonly place: string;
  readonly config: Config;
}

export interface VmList {
  readonly vms: readonly ListedVm[];
  /** What the file has and a fleet alone heeds, by name. */
  readonly unheeded: readonly string[];
}

/**
 * Reads the list. A VM's own setting beats a flag, then come variables, `defaults:` and `--config`.
 * @throws MigratekitError `usage` naming file and line
 */
export function readVmList(path: string, flags: GivenFlags, environment?: Environment): VmList {
  if (flags.has("vmware-path")) throw usage("--vmware-path and --vms exclude each other");
  const file = readListFile(path, "--vms", (mistake) => {
    throw mistake;
  });
  const configOf = configsOf("migrate", flags, environment, file.defaults.settings);
  const found = file.entries.map(({ place, settings }) => {
    return { place, config: checkedConfig(place, configOf, settings) };
  });
  const seen = new SeenOnce();
  for (const { place, config } of found) seen.add(place, config);
  const names = namesOf(found.map(({ config }) => config));
  const vms = found.map((vm, at) => ({ ...vm, name: names[at]! }));
  return { vms, unheeded: unheededOf([file.defaults, ...file.entries], file.limits.size > 0) };
}

function unheededOf(entries: readonly ListEntry[], hasLimits: boolean): string[] {
  const fields = fleetFields.filter((name) => entries.some((entry) => entry.fields.has(name)));
  const limited = entries.some(({ settings }) => settings.values.has("max-rate"));
  return [...fields, ...(limited ? ["max-rate"] : []), ...(hasLimits ? ["fleet"] : [])];
}

function checkedConfig(
  place: string,
  configOf: (own: ConfigFile) => Config,
  own: ConfigFile,
): Config {
  const config = configOf(own);
  return placed(place, () => {
    requireSettings(config, "vmware-path", "vmware-endpoint", "vmware-username", "vmware-password");
    checkTargets(config);
    checkVolumeFlags(config);
    return config;
  });
}

/** @throws MigratekitError `usage` for targets that are none */
export function checkTargets({ nbdTargets }: Config): void {
  if (nbdTargets !== undefined) parseTargets(nbdTargets);
}

/** What `work` throws says where the entry stands. */
export function placed<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof MigratekitError) || error.message.startsWith(place)) throw error;
    const message = `${place}: ${error.message}`;
    throw new MigratekitError(error.code, message, { remedy: error.remedy, cause: error });
  }
}

/** One VM twice, one progress job for two, or two disks on one volume: none can end well. */
export class SeenOnce {
  readonly #places = new Map<string, string>();

  /** @throws MigratekitError `usage` naming both entries */
  add(place: string, config: Config): void {
    for (const [what, value] of onceOnly(config)) {
      const id = `${what} ${value}`;
      const first = this.#places.get(id);
      if (first !== undefined) {
        throw usage(`${place}: ${what} ${value} is that of the entry at ${first} already`);
      }
      this.#places.set(id, place);
    }
  }
}

function onceOnly(config: Config): [string, string][] {
  const { vmwarePath, jobId } = config;
  return [
    ["the VM", `${vmwarePath} at ${endpointText(config).toLowerCase()}`],
    ...(jobId === undefined ? [] : [["the job", jobId] as [string, string]]),
    ...targetsOnceOnly(config),
  ];
}

function targetsOnceOnly(config: Config): [string, string][] {
  const { cloudstackVolumes } = config;
  if (cloudstackVolumes === "create") return []; // each VM's own
  if (cloudstackVolumes !== undefined)
    return [...cloudstackVolumes.values()].map((id) => ["the volume", id]);
  return targetUrisOf(config).map((uri) => ["the target", targetIdentity(uri)]);
}

/** Where its disks go, as far as the settings say it: of an export's name with a placeholder one for all. */
export function targetUrisOf({
  nbdHost,
  nbdPort,
  nbdExportName,
  nbdTargets,
}: Pick<Config, "nbdHost" | "nbdPort" | "nbdExportName" | "nbdTargets">): string[] {
  return nbdTargets === undefined
    ? [nbdUri(nbdHost, nbdPort, nbdExportName)]
    : [...parseTargets(nbdTargets).values()];
}

/** The last part of each path, all of it where two share that, or the endpoint besides. */
export function namesOf(vms: readonly Config[]): string[] {
  const longer: ((vm: Config) => string)[] = [
    ({ vmwarePath = "" }) => vmwarePath.slice(vmwarePath.lastIndexOf("/") + 1),
    ({ vmwarePath = "" }) => vmwarePath,
    (vm) => `${endpointText(vm).toLowerCase()}${vm.vmwarePath}`,
  ];
  const names = longer.map((nameOf) => {
    const counts = Map.groupBy(vms, nameOf);
    return vms.map((vm) => {
      const name = nameOf(vm);
      return { name, isUnique: counts.get(name)!.length === 1 };
    });
  });
  return vms.map(
    (_, at) => (names.find((known) => known[at]!.isUnique) ?? names.at(-1)!)[at]!.name,
  );
}

function usage(message: string): MigratekitError {
  return new MigratekitError("usage", message);
}
