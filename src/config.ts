/**
 * Flags, variables and the configuration file become one frozen set of settings. A flag beats the
 * environment, which beats the file, which beats that of the machine. The only reader of the environment.
 */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ConfigFile, nearMiss, readConfigFile } from "./config-file.ts";
import {
  type Environment,
  entries,
  environmentSource,
  fileSource,
  flagSource,
  type GivenFlags,
  openConfigFile,
  type Source,
  settingOf,
  systemConfigFile,
} from "./config-sources.ts";
import { MigratekitError } from "./errors.ts";
import { addSecret } from "./logger.ts";
import {
  type CommandName,
  camelCase,
  type OptionName,
  type OptionSpec,
  options,
  type Settings,
  variablesOf,
} from "./options.ts";
import { readSecretFile } from "./password-file.ts";
import { Secret } from "./secret.ts";
import { hostAndPort } from "./text.ts";

export interface Config extends Settings {
  readonly command: CommandName;
  readonly stateDir: string;
  readonly vddkLibdir: string;
  /** Where `--color` leaves it open: false with NO_COLOR (https://no-color.org) and on a dumb terminal. */
  readonly colour: boolean;
  /** False where the locale names another character set than UTF-8: C, POSIX, de_DE.ISO-8859-1. */
  readonly unicode: boolean;
  /** False on a dumb terminal (TERM=dumb), which writes what is to move its cursor. */
  readonly cursor: boolean;
  /** The flags as they were typed, without a password; for the next command to type. */
  readonly typed: GivenFlags;
  /** Things the operator should know about how the settings were given; log them once. */
  readonly warnings: readonly string[];
}

export type { Environment, GivenFlags } from "./config-sources.ts";

/** The state directory of root and of the system account that the package makes. */
export const systemStateDir = "/var/lib/migratekit";

/** @throws MigratekitError `usage`, naming the flag, variable or FILE:LINE at fault. */
export function resolveConfig(
  command: CommandName,
  flags: GivenFlags,
  environment: Environment = process.env,
  systemFile: string = systemConfigFile,
): Config {
  return configsOf(command, flags, environment, undefined, systemFile)();
}

/**
 * Configurations of VMs of a list, which differ in what each has of its `own`: that is nearest to it, so
 * stronger than flags. What holds for all is looked at once; `defaults` are weaker than the environment,
 * stronger than `--config`. @throws as `resolveConfig`, as does what it gives
 */
export function configsOf(
  command: CommandName,
  flags: GivenFlags,
  environment: Environment = process.env,
  defaults?: ConfigFile,
  systemFile: string = systemConfigFile,
): (own?: ConfigFile) => Config {
  const shared = sourcesOf(flags, environment, systemFile, defaults);
  const forAll = {
    command,
    typed: new Map([...flags].filter(([name]) => !isSecret(name))),
    unicode: isUnicode(environment),
    cursor: environment.TERM !== "dumb",
  };
  const [stateDir, vddkLibdir] = [defaultStateDir(environment), defaultVddkLibdir()];
  const unknown = unknownVariables(environment);
  const all = entries().map(([name, spec]) => ({ name, spec, field: camelCase(name) }));
  const values = new Map<OptionName, unknown>();
  const sharedValue = (name: OptionName, spec: OptionSpec) => {
    if (!values.has(name)) values.set(name, settingOf(name, spec, shared));
    return values.get(name);
  };
  return (own) => {
    const sources = own ? [fileSource(own), ...shared] : shared;
    const settings: Record<string, unknown> & { stateDir?: string; vddkLibdir?: string } = {};
    for (const { name, spec, field } of all) {
      settings[field] = own?.values.has(name)
        ? settingOf(name, spec, sources)
        : sharedValue(name, spec);
    }
    const warnings = [...unknown];
    const password = resolveSecret(vmwarePassword, command, settings, sources, warnings);
    const secretKey = resolveSecret(secretKeyOfApi, command, settings, sources, warnings);
    const apiKey = takes(command, "cloudstack-api-key") ? settings.cloudstackApiKey : undefined;
    const webhook = takes(command, "webhook") ? settings.webhook : undefined;
    for (const secret of [password, secretKey, apiKey, webhook])
      if (secret instanceof Secret) addSecret(secret.reveal());
    return Object.freeze({
      ...(settings as unknown as Settings),
      ...forAll,
      vmwarePassword: password,
      cloudstackSecretKey: secretKey,
      stateDir: settings.stateDir ?? stateDir,
      vddkLibdir: settings.vddkLibdir ?? vddkLibdir,
      colour: settings.color === "auto" && !environment.NO_COLOR && environment.TERM !== "dumb",
      warnings: Object.freeze(warnings),
    });
  };
}

/** The nearest first. @throws as `resolveConfig` */
function sourcesOf(
  flags: GivenFlags,
  environment: Environment,
  systemFile: string,
  defaults?: ConfigFile,
): Source[] {
  const file = openConfigFile(flags, environment, systemFile);
  const system = existsSync(systemFile) ? readConfigFile(systemFile) : undefined;
  return [
    flagSource(flags),
    environmentSource(environment),
    ...(defaults ? [fileSource(defaults)] : []),
    ...(file ? [fileSource(file)] : []),
    ...(system ? [fileSource(system)] : []),
  ];
}

/** A setting as it holds, and where it comes from: for `config show`. */
export interface ShownSetting {
  readonly name: OptionName;
  readonly group: OptionSpec["group"];
  /** As it was written; `[secret]` for one. Absent: nothing holds. */
  readonly value?: string;
  readonly from: Source["kind"] | "default" | "unset";
  /** The flag, the variable or FILE:LINE. */
  readonly place?: string;
}

/** Every setting but those that are asked of one command only. @throws as `resolveConfig` */
export function shownSettings(
  flags: GivenFlags,
  environment: Environment = process.env,
  systemFile: string = systemConfigFile,
): ShownSetting[] {
  const sources = sourcesOf(flags, environment, systemFile);
  return entries().map(([name, spec]) => {
    const { group } = spec;
    for (const source of sources) {
      const given = source.find(name, spec);
      if (given === undefined) continue;
      const secret = settingOf(name, spec, [source]) instanceof Secret;
      const place = source.kind === "file" ? given.place.replace(/: [^:]*$/, "") : given.place;
      return { name, group, value: secret ? "[secret]" : given.text, from: source.kind, place };
    }
    const value = defaultOf(name, spec, environment);
    if (value === undefined) return { name, group, from: "unset" };
    return { name, group, value, from: "default" };
  });
}

function defaultOf(name: OptionName, spec: OptionSpec, environment: Environment) {
  if (name === "state-dir") return defaultStateDir(environment);
  if (name === "vddk-libdir") return defaultVddkLibdir();
  return spec.fallback ?? spec.fallbackNote;
}

/**
 * Whether `--json` holds, as far as that can be told where the other settings cannot be resolved: an
 * error in them is a document, too.
 */
export function wantsJson(flags: GivenFlags, environment: Environment = process.env): boolean {
  const sources = [flagSource(flags), environmentSource(environment)];
  try {
    const file = openConfigFile(flags, environment);
    if (file) sources.push(fileSource(file));
    return settingOf("json", options.json, sources) === true;
  } catch {
    return flags.get("json") === true;
  }
}

/** `config` with a password that was asked for. */
export function withPassword(config: Config, password: string): Config {
  addSecret(password);
  return Object.freeze({ ...config, vmwarePassword: new Secret(password) });
}

/** Whether the password is all that is missing to log in. */
export function lacksPasswordAlone(config: Config): boolean {
  const { command, vms, vmwareEndpoint, vmwareUsername, vmwarePassword } = config;
  const commands: readonly CommandName[] = options["vmware-password"].commands;
  return (
    commands.includes(command) &&
    // It can do without vSphere.
    command !== "rollback" &&
    vms === undefined &&
    vmwareEndpoint !== undefined &&
    vmwareUsername !== undefined &&
    vmwarePassword === undefined
  );
}

/** The settings that a command cannot do without; @throws `usage` naming all that are missing. */
export function requireSettings<K extends OptionName>(config: Config, ...names: K[]): void {
  const missing = names.filter(
    (name) => (config as unknown as Record<string, unknown>)[camelCase(name)] === undefined,
  );
  if (missing.length === 0) return;
  // Of the ways to give a secret the flag is the one that everybody can see.
  const byFile: readonly string[] = [vmwarePassword.flag, secretKeyOfApi.flag];
  const flags = missing.map((name) => `--${name}${byFile.includes(name) ? "-file" : ""}`);
  const variables = missing.map((name) => variablesOf(name, options[name])[0]);
  throw new MigratekitError("usage", `${config.command} needs ${flags.join(", ")}`, {
    remedy: `Give the flag, its variable (${variables.join(", ")}), or the field in --config FILE.`,
  });
}

/** The vSphere endpoint as `host:port`, an IPv6 address in brackets; `:443` where none is given. */
export function endpointText({ vmwareEndpoint }: Pick<Config, "vmwareEndpoint">): string {
  const { host = "", port = 443 } = vmwareEndpoint ?? {};
  return hostAndPort(host, port);
}

/** Where state is kept without `--state-dir`: root's place, or the user's by XDG's rules; absolute. */
export function defaultStateDir(environment: Environment = process.env): string {
  if (process.getuid?.() === 0) return systemStateDir;
  return join(environment.XDG_STATE_HOME || join(homedir(), ".local/state"), "migratekit");
}

/** Who asked for what root does here, by sudo; undefined: nobody else. */
export function calledBy(environment: Environment = process.env): string | undefined {
  return environment.SUDO_USER || undefined;
}

/** What a program of the operator's needs to find its way; our settings, among them secrets, stay here. */
export function plainEnvironment(environment: Environment = process.env): Record<string, string> {
  const wanted = /^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_[A-Z]+)$/;
  const given = Object.entries(environment).filter(([name]) => wanted.test(name));
  return Object.fromEntries(given.map(([name, value = ""]) => [name, value]));
}

/** The first that is set counts: locale(7). None at all, as in a container, says nothing against it. */
function isUnicode({ LC_ALL, LC_CTYPE, LANG }: Environment): boolean {
  const locale = LC_ALL || LC_CTYPE || LANG;
  return !locale || /utf-?8/i.test(locale);
}

const vddkPlaces = [
  "/usr/lib/vmware-vix-disklib",
  "/usr/lib64/vmware-vix-disklib",
  "/opt/vmware-vix-disklib-distrib",
];

function defaultVddkLibdir(): string {
  return vddkPlaces.find((place) => existsSync(place)) ?? vddkPlaces[0]!;
}

/** A variable of ours that nothing reads is most often a typing error. */
function unknownVariables(environment: Environment): string[] {
  const known = new Set(entries().flatMap(([name, spec]) => variablesOf(name, spec)));
  return Object.keys(environment)
    .filter((name) => name.startsWith("MIGRATEKIT_") && !known.has(name))
    .map((name) => {
      const near = nearMiss(name.slice("MIGRATEKIT_".length).toLowerCase());
      return `the variable ${name} is not one that migratekit reads${near}`;
    });
}

/** What only shows settings, or does without it, reads no secret. */
function takes(command: CommandName, flag: OptionName): boolean {
  const { commands }: OptionSpec = options[flag];
  return commands.includes(command);
}

/** Whether a setting is itself what nobody may see; not the name of a file with it. */
export function isSecret(name: OptionName): boolean {
  const secrets = [vmwarePassword.flag, secretKeyOfApi.flag, "cloudstack-api-key", "webhook"];
  return secrets.includes(name);
}

/** A secret that may come from a file as well. */
interface SecretSetting {
  readonly flag: OptionName;
  readonly fileFlag: OptionName;
  readonly what: string;
}

const vmwarePassword: SecretSetting = {
  flag: "vmware-password",
  fileFlag: "vmware-password-file",
  what: "password",
};
const secretKeyOfApi: SecretSetting = {
  flag: "cloudstack-secret-key",
  fileFlag: "cloudstack-secret-key-file",
  what: "secret key",
};

/** The nearest source wins; between a secret and a file with it of one source, the file. */
function resolveSecret(
  { flag, fileFlag, what }: SecretSetting,
  command: CommandName,
  settings: Record<string, unknown>,
  sources: readonly Source[],
  warnings: string[],
): Secret | undefined {
  if (!takes(command, flag)) return undefined;
  for (const source of sources) {
    const file = source.find(fileFlag, options[fileFlag]);
    if (file) return new Secret(readSecretFile({ flag: fileFlag, what }, file.text, warnings));
    if (!source.find(flag, options[flag])) continue;
    if (source.kind === "flag") {
      const [variable] = variablesOf(flag, options[flag]);
      warnings.push(
        `--${flag} shows the ${what} to everybody on this machine in the process list; ` +
          `--${fileFlag}, ${variable} or --config do not`,
      );
    } else if (source.open) {
      warnings.push(
        `the configuration file holds the ${what} and others can read it; chmod 600 it`,
      );
    }
    break;
  }
  return settings[camelCase(flag)] as Secret | undefined;
}
