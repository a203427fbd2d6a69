/** The command line as commander sees it, made from the table of options. */
import { Command, type CommanderError, Option } from "commander";
import { firstWords, type GroupName, isGroup, lastWordOf, membersOf } from "./command-tree.ts";
import type { GivenFlags } from "./config.ts";
import { MigratekitError } from "./errors.ts";
import {
  type CommandName,
  camelCase,
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
  /** Command lines of at most 78 columns, continued with a backslash. */
  readonly examples: readonly string[];
}

export const programText = {
  name: "migratekit",
  description: "Moves running VMware machines to Apache CloudStack with almost no downtime.",
  settings:
    "Every flag has a variable (--nbd-port: MIGRATEKIT_NBD_PORT) and a field in a YAML file given with --config. A flag beats the variable, which beats the file.",
} as const;

/** `migratekit help TOPIC`, besides the commands and each error by its code. */
export const helpTopics = {
  errors: "every error, what it means and what to do",
  environment: "every variable that is read",
  "exit-codes": "what an exit code means",
  json: "what --json writes",
} as const;

export const commandTexts: Record<CommandName, CommandText> = {
  migrate: {
    summary: "copy a VM's disks: all of them the first time, then what changed",
    description:
      "Takes a snapshot, copies every disk (the first time) or its changed blocks (later) to its NBD target while the VM runs, and removes the snapshot. Never changes the VM's power state.",
    examples: [
      "migratekit migrate --vmware-endpoint vcenter.example.com \\\n" +
        "    --vmware-username admin@vsphere.local \\\n" +
        "    --vmware-password-file /etc/migratekit/password \\\n" +
        "    --vmware-path /Datacenter/vm/MyVM \\\n" +
        "    --nbd-export-name migration-vol-uuid --job-id job-20250906-123456",
      "migratekit migrate --config web01.yaml",
      "migratekit migrate --vms tonight.yaml --parallel-vms 3 --json",
    ],
  },
  check: {
    summary: "preflight and plan; changes nothing",
    description: "Looks at everything that a run needs and says what it would copy, and why.",
    examples: ["migratekit check --config web01.yaml"],
  },
  inventory: {
    summary: "all VMs of the vCenter, or below a path: what blocks them, what to know before",
    description:
      "Lists every VM below a folder, datacenter or vApp, or of the whole vCenter: power, guest, CPUs, memory, disks, space, tracking, snapshots, and what keeps it from being migrated, judged as 'check' does. Changes nothing, and needs no privilege but to read. With --plan it writes a list to complete and give to 'migrate --vms'.",
    operand: "[path]",
    examples: [
      "migratekit inventory --config vcenter.yaml /Datacenter/vm/Production",
      "migratekit inventory --config vcenter.yaml --csv > vms.csv",
      "migratekit inventory --config vcenter.yaml /Datacenter/vm/Production \\\n" +
        "    --plan wave1.yaml --plan-target 'nbd://127.0.0.1:10808/{vm}-disk-{key}'",
    ],
  },
  verify: {
    summary: "compare targets with a snapshot",
    description:
      "Takes a snapshot and compares every target with it, leaving out what changed since the last run.",
    examples: [
      "migratekit verify --config web01.yaml --sample",
      "migratekit verify --config web01.yaml --repair",
    ],
  },
  cutover: {
    summary: "last sync with the VM shut down; the only one that may power it off",
    description:
      "Syncs until the rest is small, shuts the guest down, syncs once more and leaves the VM off. With --convert the guest on the targets is then made to boot on KVM, as 'convert' does it; with --deploy it becomes a machine in CloudStack, started and seen alive.",
    examples: ["migratekit cutover --config web01.yaml --max-downtime 2m"],
  },
  rehearse: {
    summary: "would the cutover boot, and how long would it take? Changes no target",
    description:
      "Between two syncs, converts the guest on overlays over its targets that are thrown away, and with --boot starts it on the hardware that it will have, without a network. Says whether it boots and what a cutover would take. Needs neither vCenter nor CloudStack; with --cloudstack it is started there, on clones of the volumes in an isolated network.",
    examples: [
      "migratekit rehearse --config web01.yaml",
      "migratekit rehearse --config web01.yaml --boot --screenshot web01.png",
      "migratekit rehearse --config web01.yaml --cloudstack --for 2h",
      "migratekit rehearse --config web01.yaml --cloudstack --end",
    ],
  },
  convert: {
    summary: "make the guest on the targets boot in CloudStack: all disks or none",
    description:
      "Converts the guest on overlays over its synced targets, says whether it would boot and on what hardware, and only then writes what was changed to all targets; what was there before is kept for rollback. Needs neither vCenter nor CloudStack.",
    examples: [
      "migratekit convert --config web01.yaml",
      "migratekit convert --disk nbd://127.0.0.1:10809/root --firmware uefi \\\n" +
        "    --mac 52:54:00:12:34:56=192.0.2.7/24",
    ],
  },
  rollback: {
    summary: "go back from CloudStack, and from a conversion, to where syncs go on",
    description:
      "Writes what the conversion kept back to all targets and proves that they hold what they held before; then syncs go on. Refuses where something else has written to a target since. After a cutover with --deploy it first removes the machine in CloudStack, and then compares its volumes with the source, where vSphere's settings are given, and copies what the machine wrote over; without them the next sync is a full one.",
    examples: [
      "migratekit rollback --config web01.yaml",
      "migratekit rollback --config web01.yaml --power-on-source",
    ],
  },
  export: {
    summary: "on the appliance in CloudStack: its volumes as NBD exports",
    description:
      "Keeps an NBD server in step with the volumes that are attached to this instance and that migratekit marked: each is exported, writable, under its id as soon as it is there, and its export ends before it is gone. Goes on until it is stopped.",
    examples: [
      "migratekit export --config /etc/migratekit/export.yaml",
      "migratekit export --listen 0.0.0.0:10809 \\\n" +
        "    --listen-tls-certificates /etc/migratekit/tls \\\n" +
        "    --export-volumes 8d1f7a52-3c14-4f6e-9a0b-0123456789ab",
    ],
  },
  cleanup: {
    summary: "remove what dead runs left behind",
    description: "Lists and removes snapshots, sockets, processes and journals of dead runs.",
    examples: ["migratekit cleanup --config web01.yaml --dry-run"],
  },
  list: {
    summary: "the VMs of this machine: last sync, delta, running now, trouble",
    description:
      "Shows every VM that the state directory knows: its disks and their targets, the last sync and what had changed by then, whether a run is at work, when it was verified, rehearsed and cut over, and what is to be looked at. Asks nobody else.",
    examples: ["migratekit list", "migratekit list --watch"],
  },
  status: {
    summary: "progress of a job of the VMA API, or of the runs of this machine",
    description:
      "Shows a job as the VMA API knows it; without a job, every run that is at work with this state directory.",
    operand: "[job]",
    examples: ["migratekit status --watch", "migratekit status job-20250906-123456 --watch"],
  },
  history: {
    summary: "past runs of a VM",
    description: "Lists the runs in the state directory: type, bytes, time, ending.",
    examples: ["migratekit history --vmware-path /Datacenter/vm/MyVM"],
  },
  config: {
    summary: "show every setting as it holds here, and where it comes from",
    description:
      "Shows every setting with its value and the flag, variable, line of a file or default that it comes from; secrets are hidden. Takes every flag, and refuses what no command would take.",
    operand: "<show>",
    examples: ["migratekit config show --config web01"],
  },
  completion: {
    summary: "print the completion script of a shell: bash, zsh or fish",
    description: "Prints a script that completes commands, flags and their values.",
    operand: "<shell>",
    examples: [
      "migratekit completion bash > /etc/bash_completion.d/migratekit",
      "migratekit completion zsh > /usr/local/share/zsh/site-functions/_migratekit",
      "migratekit completion fish > ~/.config/fish/completions/migratekit.fish",
    ],
  },
  "fleet plan": {
    summary: "check a plan whole, and foretell what it would come to; changes nothing",
    description:
      "Reads the plan and names every mistake in it. Then plays it through, with what past runs of this machine measured, and with --fleet-database those of the fleet: when each wave is in sync, whether each cutover fits its window, and what bounds it. What is not known is assumed, and said so. Asks no vCenter and no target.",
    operand: "<file>",
    examples: [
      "migratekit fleet plan plan.yaml --workers 3 --parallel-vms 4",
      "migratekit fleet plan plan.yaml --inventory vms.json --link-rate 1G \\\n" +
        "    --start 2026-12-01T20:00Z",
      "migratekit fleet plan plan.yaml --config fleet",
    ],
  },
  "fleet init": {
    summary: "make or upgrade the fleet's tables in PostgreSQL",
    description:
      "Makes the tables and functions of a fleet in an empty database, or upgrades them while workers work. With --worker-role it also lets a role of PostgreSQL work for the fleet, which may claim VMs and nothing else.",
    examples: [
      "migratekit fleet init --fleet-database postgres://fleet@db.example/fleet",
      "migratekit fleet init --config fleet --worker-role worker",
    ],
  },
  "fleet apply": {
    summary: "make this plan the fleet's, and say what changed",
    description:
      "Reads a plan and makes it the fleet's in one transaction. Running it again changes only what changed; a VM that is not in it any more is let go, its run asked to stop. What changed and had failed is tried again.",
    operand: "<file>",
    examples: ["migratekit fleet apply plan.yaml --config fleet"],
  },
  "fleet pause": {
    summary: "begin no run of these VMs, and stop their syncs",
    description:
      "No run of the VMs begins until 'fleet resume'; their syncs are asked to stop, and go on later where they stopped. A cutover that has begun goes on to its end.",
    examples: ["migratekit fleet pause --wave 2", "migratekit fleet pause --all"],
  },
  "fleet resume": {
    summary: "let these VMs be synced again; with --takeover, those of dead workers",
    description:
      "Takes back 'fleet pause'. With --takeover it is also your word that a worker that is not heard of any more, and the machine it ran on, will write no more to the VMs' targets: where the plan states no target-drop-time, their takeover waits for that.",
    examples: ["migratekit fleet resume --wave 2", "migratekit fleet resume --vm web01 --takeover"],
  },
  "fleet retry": {
    summary: "try again what failed",
    description:
      "VMs that failed and wait for an operator, or for the end of a pause, are due at once, or when their window opens.",
    examples: ["migratekit fleet retry --vm web01", "migratekit fleet retry --all"],
  },
  "fleet cutover": {
    summary: "ask for the cutover of these VMs",
    description:
      "Each is cut over when its cutover window is open and all that the plan has it come after are cut over; until then its syncs go on.",
    examples: ["migratekit fleet cutover --wave 1", "migratekit fleet cutover --vm web01 --cancel"],
  },
  "fleet work": {
    summary: "take VMs of the fleet and do what is due for them",
    description:
      "What each appliance of a fleet runs: takes VMs that are due, syncs them or cuts them over, and goes on until it is ended. The first TERM or INT drains it: runs come to a checkpoint, and other workers go on with them; the second ends it at once. The plan says what is done with a VM; what it leaves out, such as the vSphere password and where VDDK is, comes from the worker's own flags, variables and --config.",
    examples: [
      "migratekit fleet work --config /etc/migratekit/worker.yaml",
      "migratekit fleet work --config /etc/migratekit/worker.yaml \\\n" +
        "    --parallel-vms 4 --label site=rome",
    ],
  },
  "fleet status": {
    summary: "the whole fleet: trouble first, what runs, the waves, workers and hosts",
    description:
      "Shows what an operator has to see to and by which command, what runs now, how far each wave is, who works and which limits are used up; of a small fleet, or with --all, a line for each VM with the trend of its deltas and how long its cutover will take. With --metrics-listen it shows nothing and gives the same to Prometheus instead.",
    examples: [
      "migratekit fleet status --watch",
      "migratekit fleet status --all --wave 2",
      "migratekit fleet status --metrics-listen 127.0.0.1:9470",
    ],
  },
  "fleet report": {
    summary: "the whole project as one page for those whom it was done for",
    description:
      "Writes what was moved: each VM with its syncs, bytes and deltas over time, the downtime that was measured, what was verified and by which checksum. The page needs nothing from elsewhere and holds the data that it was made from, with a digest; --json prints these very bytes.",
    examples: ['migratekit fleet report --html report.html --title "Rome to the new cloud"'],
  },
  "fleet check-target": {
    summary: "how soon a target's server lets go of a worker that died; writes nothing",
    description:
      "Connects to the target as a copy does and then hears and says nothing more, as a machine that died or was cut off: once idle, once with an answer under way. Says when the server let go of both connections, the plan's target-drop-time that follows, and the settings that shorten it. No other connection is touched. Needs root or CAP_NET_ADMIN where the kernel lets nobody else filter what a socket hears.",
    operand: "<uri>",
    examples: [
      "migratekit fleet check-target nbd://nbd1.example.com:10809/web01-system",
      "migratekit fleet check-target nbds://nbd1.example.com/web01-system \\\n" +
        "    --nbd-tls-ca-file /etc/migratekit/nbd-ca.pem --give-up-after 3h",
    ],
  },
};

/** Of commands whose names begin with the same word. */
export const groupTexts: Record<GroupName, Pick<CommandText, "summary" | "description">> = {
  fleet: {
    summary: "hundreds of VMs by one plan, on any number of appliances",
    description:
      "A plan says which VMs are synced when, and when they may be cut over. PostgreSQL keeps it, and any appliance that works for the fleet takes whatever VM is due.",
  },
};

/** What commander says of a mistake is ours to tell (mistakeOf). */
const quietErrors = { outputError: () => {} };

/** A mistake on the command line; a mistyped `--vmware-pasword=…` is named without its value. */
export function mistakeOf({ message }: CommanderError): MigratekitError {
  const text = message
    .replace(/^error: /, "")
    .replace(/(unknown option '-[^=']*)=[\s\S]*?(?='\s|'$)/, "$1=…");
  return new MigratekitError("usage", text.replaceAll(/\s*\n\s*/g, " "));
}

/** What decides how an error is told, found in arguments that cannot be parsed. */
export function glimpse(argv: readonly string[]): GivenFlags {
  const flags = new Map<OptionName, string | boolean>();
  for (const [at, argument] of argv.entries()) {
    if (argument === "--") break;
    if (argument === "--json") flags.set("json", true);
    for (const name of ["config", "log-format"] as const) {
      if (argument === `--${name}`) flags.set(name, argv[at + 1] ?? "");
      if (argument.startsWith(`--${name}=`)) flags.set(name, argument.slice(name.length + 3));
    }
  }
  return flags;
}

/** Builds the program; the action only records what was asked for. */
export function buildProgram(onInvocation: (invocation: Invocation) => void): Command {
  const program = emptyCommand(programText.name, programText.description)
    .option("-V, --version", "version, Node and libraries")
    .helpOption("-h, --help", "this help; every command has its own");
  for (const word of firstWords) {
    program.addCommand(
      isGroup(word)
        ? buildGroup(word, onInvocation)
        : buildCommand(word as CommandName, onInvocation),
    );
  }
  program.addHelpText("after", `\n${topicsText()}`);
  program.addHelpText("after", `\n${examplesText(commandTexts.migrate.examples.slice(0, 1))}`);
  return program;
}

function emptyCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .showSuggestionAfterError()
    .configureOutput(quietErrors)
    .configureHelp({ minWidthToWrap: 10 })
    .exitOverride();
}

function buildGroup(name: GroupName, onInvocation: (invocation: Invocation) => void): Command {
  const { summary, description } = groupTexts[name];
  const group = emptyCommand(name, description)
    .summary(summary)
    .helpOption("-h, --help", "this help; every command has its own");
  const members = membersOf(name);
  for (const member of members) group.addCommand(buildCommand(member, onInvocation));
  const examples = members.flatMap((member) => commandTexts[member].examples.slice(0, 1));
  return group.addHelpText("after", `\n${examplesText(examples)}`);
}

function buildCommand(name: CommandName, onInvocation: (invocation: Invocation) => void): Command {
  const text = commandTexts[name];
  const command = emptyCommand(lastWordOf(name), text.description)
    .summary(text.summary)
    .helpOption("-h, --help", "this help")
    .allowExcessArguments(false);
  if (text.operand !== undefined) command.argument(text.operand);
  for (const [option, spec] of optionsOf(name)) {
    for (const flag of flagsOf(option, spec)) {
      command.addOption(flag.helpGroup(`${groups[spec.group]}:`));
    }
  }
  command.addHelpText("after", `\n${examplesText(text.examples)}`);
  if (optionsOf(name).length > 0) command.addHelpText("after", settingsText);
  return command.action(() => {
    onInvocation({ command: name, flags: givenFlags(command, name), operands: command.args });
  });
}

function topicsText(): string {
  const lines = Object.entries(helpTopics).map(
    ([name, text]) => `  help ${name.padEnd(12)} ${text}`,
  );
  return `More help:\n${lines.join("\n")}\n  help CODE         one error by its code: help target-too-small`;
}

function examplesText(examples: readonly string[]): string {
  return `Example${examples.length > 1 ? "s" : ""}:\n${examples.map((line) => `  ${line}`).join("\n")}`;
}

/** In lines that fit any terminal: commander does not wrap what comes after the options. */
const settingsText = `\n${programText.settings.replace(/(.{1,78})(?: |$)/g, "$1\n").trimEnd()}`;

/** The options of a command that are flags, in the order of the table. */
export function optionsOf(command: CommandName): [OptionName, OptionSpec][] {
  return (Object.entries(options) as [OptionName, OptionSpec][]).filter(
    ([, spec]) => !spec.noFlag && (command === "config" || spec.commands.includes(command)),
  );
}

function flagsOf(name: OptionName, spec: OptionSpec): Option[] {
  const note = spec.value === undefined ? undefined : (spec.fallbackNote ?? spec.fallback);
  const text = note === undefined ? spec.describe : `${spec.describe} [${note}]`;
  const short = spec.short === undefined ? "" : `-${spec.short}, `;
  const off = () => new Option(`--no-${name}`, spec.describeOff ?? `do not ${spec.describe}`);
  if (spec.value !== undefined) {
    const valued = new Option(`--${name} <${spec.value}>`, text);
    const join = (value: string, before?: string) =>
      before === undefined ? value : `${before},${value}`;
    if (spec.repeatable) valued.argParser(join);
    return spec.negatable ? [valued, off()] : [valued];
  }
  const on = new Option(`${short}--${name}`, text);
  return spec.negatable ? [on.hideHelp(), off()] : [on];
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
