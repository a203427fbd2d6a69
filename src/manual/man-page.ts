/** The manual page, in the man(7) macros that groff and mandoc know. */
import { slugOf } from "../command-tree.ts";
import {
  type CommandName,
  commandNames,
  groups,
  type OptionName,
  type OptionSpec,
  options,
  variablesOf,
} from "../options.ts";
import { commandTexts, programText } from "../program.ts";
import { flagEntry, synopsisOf } from "./command-page.ts";
import { exitCodeNotes, exitCodeTable } from "./exit-codes.ts";
import { type Flag, flagsOf } from "./flags.ts";
import { example, prose, roff, term } from "./roff.ts";
import { otherVariables } from "./variables.ts";

/** `date` is ISO (2025-09-06), of the version. */
export function manPage(version: string, date: string): string {
  return [
    `.TH MIGRATEKIT 1 "${date}" "migratekit ${version}" "User Commands"`,
    ".SH NAME",
    "migratekit \\- moves running VMware machines to Apache CloudStack",
    ".SH SYNOPSIS",
    ...synopsis(),
    ".SH DESCRIPTION",
    prose(programText.description),
    prose(
      "The first run copies every disk of a VM while it runs; later runs copy only the blocks that changed; a cutover ends it. Disks are read through VMware's VDDK (nbdkit) and written to NBD exports.",
    ),
    ".SH COMMANDS",
    ...commandNames.flatMap(commandLines),
    ".SH OPTIONS",
    roff("Each option says which commands take it; a command's own page has only its own."),
    ...Object.entries(groups).flatMap(([group, title]) => groupLines(group, title)),
    ".SH ENVIRONMENT",
    prose(programText.settings),
    ...environmentLines(),
    ".SH FILES",
    ...fileLines(),
    ".SH EXIT STATUS",
    ...exitCodeTable.flatMap(({ code, meaning }) => term(`${code}`, meaning)),
    ...term("128+N", "ended by signal N"),
    ".PP",
    ...exitCodeNotes.map(prose),
    ".SH EXAMPLES",
    ...commandNames
      .flatMap((name) => commandTexts[name].examples)
      .flatMap(example)
      .slice(1), // no space after the heading
    ".SH SEE ALSO",
    ...commandNames.map((name) => `.BR migratekit\\-${roff(slugOf(name))} (1),`),
    ".BR nbdkit (1),",
    ".BR nbdkit\\-vddk\\-plugin (1),",
    ".BR nbd\\-server (1),",
    ".BR qemu\\-nbd (8)",
    "",
  ].join("\n");
}

function synopsis(): string[] {
  return commandNames.flatMap((name, index) => [
    ...(index === 0 ? [] : [".br"]),
    ...synopsisOf(name),
  ]);
}

function commandLines(name: CommandName): string[] {
  const { description } = commandTexts[name];
  return term(name, description);
}

function groupLines(group: string, title: string): string[] {
  const flags = new Map<string, { flag: Flag; commands: CommandName[] }>();
  for (const command of commandNames) {
    for (const flag of flagsOf(command).filter((candidate) => candidate.group === group)) {
      const known = flags.get(flag.name) ?? { flag, commands: [] };
      known.commands.push(command);
      flags.set(flag.name, known);
    }
  }
  if (flags.size === 0) return [];
  return [`.SS ${roff(title)}`, ...[...flags.values()].flatMap(flagLines)];
}

function flagLines({ flag, commands }: { flag: Flag; commands: CommandName[] }): string[] {
  const takers = commands.filter((name) => name !== "config").map(roff);
  return [...flagEntry(flag), ...(takers.length > 0 ? [".br", `Of: ${takers.join(", ")}.`] : [])];
}

/** Only those that are not simply the flag's name. */
function environmentLines(): string[] {
  const all = Object.entries(options) as [OptionName, OptionSpec][];
  const other = all.flatMap(([name, spec]) =>
    variablesOf(name, spec)
      .filter((variable) => spec.variables?.includes(variable))
      .map((variable) => ({ variable, text: spec.describe, name, noFlag: spec.noFlag })),
  );
  return [
    ...other.flatMap(({ variable, text, name, noFlag }) =>
      term(variable, noFlag ? text : `${text} (--${name})`),
    ),
    ...otherVariables.flatMap(({ variable, describe }) => term(variable, describe)),
  ];
}

function fileLines(): string[] {
  return [
    ...term(
      "--config FILE",
      "YAML: one setting to a line, named as its flag without the dashes. nbd-targets may be a map from device key to URI.",
    ),
    ...example(
      "vmware-endpoint: vcenter.example.com\nvmware-path: /Datacenter/vm/web01\nnbd-targets:\n  2000: nbd://127.0.0.1:10808/vol-a\n  2001: nbd://127.0.0.1:10808/vol-b",
    ),
    ...term(
      "--vms FILE",
      "YAML: settings for all under defaults, then one entry for each VM under vms. A VM's own setting beats a flag; a flag beats the environment, the defaults and --config.",
    ),
    ...example(
      "defaults:\n  vmware-endpoint: vcenter.example.com\nvms:\n  - vmware-path: /Datacenter/vm/web01\n    nbd-export-name: web01-{key}\n    job-id: web01-tonight\n  - vmware-path: /Datacenter/vm/web02\n    nbd-export-name: web02-{key}",
    ),
  ];
}
