/** The places where settings come from, the nearest first, and what they give. */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { type ConfigFile, readConfigFile } from "./config-file.ts";
import { MigratekitError } from "./errors.ts";
import { InvalidValue } from "./option-types.ts";
import { type OptionName, type OptionSpec, options, variablesOf } from "./options.ts";

/** Settings for all VMs of this machine, where the file exists; the weakest of all. */
export const systemConfigFile = "/etc/migratekit/config.yaml";

export type Environment = Readonly<Record<string, string | undefined>>;

/** What commander collected: option name (with dashes) to its text; switches are true or false. */
export type GivenFlags = ReadonlyMap<OptionName, string | boolean>;

/** Every setting, in the order of the table. */
export function entries(): [OptionName, OptionSpec][] {
  return Object.entries(options) as [OptionName, OptionSpec][];
}

/** One place where settings come from. */
export interface Source {
  readonly kind: "flag" | "variable" | "file";
  /** Others on this machine can read it. */
  readonly open?: boolean;
  find(name: OptionName, spec: OptionSpec): Given | undefined;
}

export interface Given {
  readonly text: string;
  /** Flag, variable or FILE:LINE, for messages. */
  readonly place: string;
}

export function flagSource(flags: GivenFlags): Source {
  return {
    kind: "flag",
    find(name) {
      const given = flags.get(name);
      return given === undefined ? undefined : { text: String(given), place: `--${name}` };
    },
  };
}

/** An empty variable counts as not set, as scripts leave them behind. */
export function environmentSource(environment: Environment): Source {
  return {
    kind: "variable",
    find(name, spec) {
      const place = variablesOf(name, spec).find((candidate) => environment[candidate]);
      return place === undefined ? undefined : { text: environment[place] ?? "", place };
    },
  };
}

export function fileSource(file: ConfigFile): Source {
  return {
    kind: "file",
    open: file.readableByOthers,
    find(name) {
      const text = file.values.get(name);
      return text === undefined ? undefined : { text, place: file.where(name) };
    },
  };
}

/** The first source that has it wins. */
export function settingOf(name: OptionName, spec: OptionSpec, sources: readonly Source[]): unknown {
  for (const source of sources) {
    const given = source.find(name, spec);
    if (given) return parse(spec, given.text, given.place);
  }
  return spec.fallback === undefined ? undefined : spec.parse(spec.fallback);
}

function parse(spec: OptionSpec, text: string, place: string): unknown {
  try {
    return spec.parse(text);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new MigratekitError("usage", `${place} ${error.message}`);
  }
}

/**
 * The file of `--config`: a path, or the name of a VM whose settings lie beside those of the machine.
 * @throws MigratekitError `usage` naming file and line
 */
export function openConfigFile(
  flags: GivenFlags,
  environment: Environment,
  systemFile: string = systemConfigFile,
): ConfigFile | undefined {
  const given = flags.get("config") ?? environment.MIGRATEKIT_CONFIG;
  if (typeof given !== "string" || given === "") return undefined;
  if (!isName(given) || isThere(given)) return readConfigFile(given);
  const path = join(dirname(systemFile), "vms", `${given}.yaml`);
  if (existsSync(path)) return readConfigFile(path);
  throw new MigratekitError("usage", `--config ${given}: there is neither ${given} nor ${path}`, {
    remedy: "Give the path of a settings file, or the name of one in that folder.",
  });
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false;
}

/** What cannot be meant as a path: no folder, no ending. */
function isName(given: string): boolean {
  return !/[/]|\.(ya?ml|json)$/i.test(given);
}
