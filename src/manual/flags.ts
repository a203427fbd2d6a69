/** The table of options as manuals and completions need it. */
import type { CommandName, groups, OptionName, OptionSpec } from "../options.ts";
import { optionsOf } from "../program.ts";

export interface Flag {
  /** `--nbd-port`; `--no-…` for what is on unless told otherwise. */
  readonly name: string;
  /** `-q` */
  readonly short?: string;
  readonly option: OptionName;
  readonly group: keyof typeof groups;
  /** Name of its value; absent for a switch. */
  readonly value?: string;
  /** The only values it takes, where they can be listed. */
  readonly choices: readonly string[];
  readonly completes: "nothing" | "files" | "directories" | "choices";
  readonly help: string;
  /** What holds without it. */
  readonly fallback?: string;
}

/** The flags of a command, in the order of the table. */
export function flagsOf(command: CommandName): Flag[] {
  return optionsOf(command).flatMap(([option, spec]) => [
    ...(spec.negatable && spec.value === undefined ? [] : [flagOf(option, spec)]),
    ...(spec.negatable ? [offFlagOf(option, spec)] : []),
  ]);
}

function flagOf(option: OptionName, spec: OptionSpec): Flag {
  const choices = spec.parse.allowed ?? [];
  const fallback = spec.fallbackNote ?? spec.fallback;
  return {
    name: `--${option}`,
    ...(spec.short === undefined ? {} : { short: `-${spec.short}` }),
    option,
    group: spec.group,
    ...(spec.value === undefined ? {} : { value: spec.value }),
    choices,
    completes: completionOf(spec.value, choices),
    help: spec.describe,
    ...(spec.value === undefined || fallback === undefined ? {} : { fallback }),
  };
}

/** The `--no-…` form. */
function offFlagOf(option: OptionName, spec: OptionSpec): Flag {
  return {
    name: `--no-${option}`,
    option,
    group: spec.group,
    choices: [],
    completes: "nothing",
    help: spec.describeOff ?? `do not ${spec.describe}`,
  };
}

function completionOf(value: string | undefined, choices: readonly string[]): Flag["completes"] {
  if (choices.length > 0) return "choices";
  if (value === "DIR") return "directories";
  return value?.startsWith("FILE") || value === "PROGRAM" || value === "PLUGIN"
    ? "files"
    : "nothing";
}
