import { firstWords, isGroup, lastWordOf, membersOf } from "../command-tree.ts";
import { type CommandName, commandNames } from "../options.ts";
import { commandTexts, groupTexts, helpTopics } from "../program.ts";
import { operandsOf, takesFile } from "./completion-bash.ts";
import { type Flag, flagsOf } from "./flags.ts";

/** The script for fish, to be sourced or laid into its vendor_completions.d. */
export function fishCompletion(): string {
  const commands = firstWords.map((word) => {
    const { summary } = isGroup(word) ? groupTexts[word] : commandTexts[word as CommandName];
    return `complete -c migratekit -n __fish_use_subcommand -a ${word} -d ${quote(summary)}`;
  });
  return `# Completion of migratekit for fish, made by "migratekit completion fish".
complete -c migratekit -f
complete -c migratekit -s h -l help -d 'help'
complete -c migratekit -n __fish_use_subcommand -s V -l version -d 'version, Node and libraries'
${commands.join("\n")}
${firstWords.filter(isGroup).flatMap(memberLines).join("\n")}
${commandNames.flatMap(flagLines).join("\n")}
${commandNames.flatMap(operandLines).join("\n")}
complete -c migratekit -n __fish_use_subcommand -a help -d 'help on a command or topic'
complete -c migratekit -n '__fish_seen_subcommand_from help' -a '${[...firstWords, ...Object.keys(helpTopics)].join(" ")}'
`;
}

/** A group's commands, until one of them stands there. */
function memberLines(group: Parameters<typeof membersOf>[0]): string[] {
  const words = membersOf(group).map(lastWordOf);
  const open = `__fish_seen_subcommand_from ${group}; and not __fish_seen_subcommand_from ${words.join(" ")}`;
  return membersOf(group).map(
    (name) =>
      `complete -c migratekit -n ${quote(open)} -a ${lastWordOf(name)} -d ${quote(commandTexts[name].summary)}`,
  );
}

/** Where a command is typed: the word of one may be that of another in a group. */
function conditionOf(command: CommandName): string {
  const words = command.split(" ").map((word) => `__fish_seen_subcommand_from ${word}`);
  const others = firstWords.filter(
    (word) => isGroup(word) && membersOf(word).some((name) => lastWordOf(name) === command),
  );
  const nots = others.map((word) => `not __fish_seen_subcommand_from ${word}`);
  return quote([...words, ...nots].join("; and "));
}

function operandLines(command: CommandName): string[] {
  const words = operandsOf(command).join(" ");
  const start = `complete -c migratekit -n ${conditionOf(command)}`;
  return [
    ...(words === "" ? [] : [`${start} -a '${words}'`]),
    ...(takesFile(command) ? [`${start} -F`] : []),
  ];
}

function flagLines(command: CommandName): string[] {
  return flagsOf(command).map(
    (flag) =>
      `complete -c migratekit -n ${conditionOf(command)} ${flag.short === undefined ? "" : `-s ${flag.short.slice(1)} `}-l ${flag.name.slice(2)}${valueText(flag)} -d ${quote(flag.help)}`,
  );
}

function valueText(flag: Flag): string {
  if (flag.value === undefined) return "";
  const kinds = {
    nothing: " -x",
    files: " -r -F",
    directories: " -x -a '(__fish_complete_directories)'",
    choices: ` -x -a '${flag.choices.join(" ")}'`,
  };
  return kinds[flag.completes];
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
