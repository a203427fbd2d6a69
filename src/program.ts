/** The command line as commander sees it, made from the table of options. */
import { Command, Option } from "commander";
import type { GivenFlags } from "./config.ts";
import {
  type CommandName,
  camelCase,
  commandNames,
  groups,
  type OptionName,
  type OptionSpec,
  options,
} from "./options.ts";

export interface Invocation {
  readonly command: CommandName;
  readonly flags: GivenFlags;
  readonly operands: readonly string[];
}

interface CommandText {
  readonly summary: string;
  readonly description: string;
  readonly operand?: string;
  readonly example: string;
}

export const commandTexts: Record<CommandName, CommandText> = {
  migrate: {
    summary: "copy a VM's disks: all of them the first time, then what changed",
    description:
      "Takes a snapshot, copies every disk (the first time) or its changed blocks (later) to its NBD\n" +
      "target while the VM runs, and removes the snapshot. Never changes the VM's power state.",
    example:
      "migratekit migrate --vmware-endpoint vcenter.example.com --vmware-username admin@vsphere.local \\\n" +
      "    --vmware-password-file /etc/migratekit/password --vmware-path /Datacenter/vm/MyVM \\\n" +
      "    --nbd-export-name migration-vol-uuid --job-id job-20250906-123456",
  },
  check: {
    summary: "preflight and plan; changes nothing",
    description: "Looks at everything that a run needs and says what it would copy, and why.",
    example: "migratekit check --config web01.yaml",
  },
  verify: {
    summary: "compare targets with a snapshot",
    description:
      "Takes a snapshot and compares every target with it, leaving out what changed since the last run.",
    example: "migratekit verify --config web01.yaml --sample",
  },
  cutover: {
    summary: "last sync with the VM shut down; the only command that may power it off",
    description:
      "Syncs until the rest is small, shuts the guest down, syncs once more and leaves the VM off.",
    example: "migratekit cutover --config web01.yaml --max-downtime 2m",
  },
  cleanup: {
    summary: "remove what dead runs left behind",
    description: "Lists and removes snapshots, sockets, processes and journals of dead runs.",
    example: "migratekit cleanup --config web01.yaml --dry-run",
  },
  status: {
    summary: "progress of a job, from the VMA API",
    description: "Shows a job as the VMA API knows it.",
    operand: "[job]",
    example: "migratekit status job-20250906-123456 --watch",
  },
  history: {
    summary: "past runs of a VM",
    description: "Lists the runs in the state directory: type, bytes, time, ending.",
    example: "migratekit history --vmware-path /Datacenter/vm/MyVM",
  },
};

/** Builds the program; the action only records what was asked for. */
export function buildProgram(onInvocation: (invocation: Invocation) => void): Command {
  const program = new Command("migratekit")
    .description("Moves running VMware machines to Apache CloudStack with almost no downtime.")
    .option("-V, --version", "version, Node and libraries")
    .helpOption("-h, --help", "this help; every command has its own")
    .showSuggestionAfterError()
    .exitOverride();
  for (const name of commandNames) program.addCommand(buildCommand(name, onInvocation));
  program.addHelpText("after", `\nExample:\n  ${commandTexts.migrate.example}\n`);
  return program;
}

function buildCommand(name: CommandName, onInvocation: (invocation: Invocation) => void): Command {
  const text = commandTexts[name];
  const command = new Command(name)
    .summary(text.summary)
    .description(text.description)
    .helpOption("-h, --help", "this help")
    .allowExcessArguments(false)
    .exitOverride();
  if (text.operand !== undefined) command.argument(text.operand);
  for (const [option, spec] of optionsOf(name)) {
    for (const flag of flagsOf(option, spec)) {
      command.addOption(flag.helpGroup(`${groups[spec.group]}:`));
    }
  }
  command.addHelpText(
    "after",
    `\nExample:\n  ${text.example}\n\nEvery flag has a variable (--nbd-port: MIGRATEKIT_NBD_PORT) and a field in --config FILE.`,
  );
  return command.action(() => {
    onInvocation({ command: name, flags: givenFlags(command, name), operands: command.args });
  });
}

export function optionsOf(command: CommandName): [OptionName, OptionSpec][] {
  return (Object.entries(options) as [OptionName, OptionSpec][]).filter(
    ([, spec]) => !spec.noFlag && spec.commands.includes(command),
  );
}

function flagsOf(name: OptionName, spec: OptionSpec): Option[] {
  const note = spec.value === undefined ? undefined : (spec.fallbackNote ?? spec.fallback);
  const text = note === undefined ? spec.describe : `${spec.describe} [${note}]`;
  if (spec.value !== undefined) return [new Option(`--${name} <${spec.value}>`, text)];
  const on = new Option(`--${name}`, text);
  if (!spec.negatable) return [on];
  return [on.hideHelp(), new Option(`--no-${name}`, `do not ${spec.describe}`)];
}

function givenFlags(command: Command, name: CommandName): GivenFlags {
  const flags = new Map<OptionName, string | boolean>();
  for (const [option] of optionsOf(name)) {
    const key = camelCase(option);
    if (command.getOptionValueSource(key) === "cli") {
      flags.set(option, command.getOptionValue(key) as string | boolean);
    }
  }
  return flags;
}
