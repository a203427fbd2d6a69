import { type CommandName, commandNames } from "../options.ts";
import { commandTexts, helpTopics } from "../program.ts";
import { operandsOf } from "./completion-bash.ts";
import { type Flag, flagsOf } from "./flags.ts";

/** The script for fish, to be sourced or laid into its vendor_completions.d. */
export function fishCompletion(): string {
  const commands = commandNames.map(
    (name) =>
      `complete -c migratekit -n __fish_use_subcommand -a ${name} -d ${quote(commandTexts[name].summary)}`,
  );
  return `# Completion of migratekit for fish, made by "migratekit completion fish".
complete -c migratekit -f
complete -c migratekit -s h -l help -d 'help'
complete -c migratekit -n __fish_use_subcommand -s V -l version -d 'version, Node and libraries'
${commands.join("\n")}
${commandNames.flatMap(flagLines).join("\n")}
${commandNames.flatMap(operandLines).join("\n")}
complete -c migratekit -n __fish_use_subcommand -a help -d 'help on a command or topic'
complete -c migratekit -n '__fish_seen_subcommand_from help' -a '${[...commandNames, ...Object.keys(helpTopics)].join(" ")}'
`;
}

function operandLines(command: CommandName): string[] {
  const words = operandsOf(command).join(" ");
  return words === ""
    ? []
    : [`complete -c migratekit -n '__fish_seen_subcommand_from ${command}' -a '${words}'`];
}

function flagLines(command: CommandName): string[] {
  return flagsOf(command).map(
    (flag) =>
      `complete -c migratekit -n '__fish_seen_subcommand_from ${command}' ${flag.short === undefined ? "" : `-s ${flag.short.slice(1)} `}-l ${flag.name.slice(2)}${valueText(flag)} -d ${quote(flag.help)}`,
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
