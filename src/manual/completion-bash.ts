import { firstWords, isGroup, lastWordOf, membersOf } from "../command-tree.ts";
import { type CommandName, commandNames } from "../options.ts";
import { commandTexts, helpTopics } from "../program.ts";
import { type Flag, flagsOf } from "./flags.ts";

/** The only operands that a command takes, where they can be listed. */
export function operandsOf(command: CommandName): readonly string[] {
  if (command === "completion") return completionShells;
  return command === "config" ? ["show"] : [];
}

/** Whether a command's operand is the path of a file. */
export function takesFile(command: CommandName): boolean {
  return commandTexts[command].operand === "<file>";
}

export const completionShells = ["bash", "zsh", "fish"] as const;

/** Works without the bash-completion package. */
export function bashCompletion(): string {
  const flags = new Map(commandNames.flatMap(flagsOf).map((flag) => [flag.name, flag]));
  const withValue = [...flags.values()].filter((flag) => flag.value !== undefined);
  const of = (completes: Flag["completes"]) =>
    withValue.filter((flag) => flag.completes === completes);
  const choices = of("choices").map((flag) =>
    arm([flag.name], reply(`-W "${flag.choices.join(" ")}"`)),
  );
  return `# Completion of migratekit for bash, made by "migratekit completion bash".
_migratekit() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} words=""
  COMPREPLY=()
  if [[ $cur == "=" ]]; then
    cur=""
  elif [[ $prev == "=" ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $prev in
${choices.join("\n")}
${arm(names(of("directories")), `${reply("-d")}; compopt -o filenames`)}
${arm(names(of("files")), `${reply("-f")}; compopt -o filenames`)}
${arm(names(of("nothing")), ":")}
  esac
  if ((COMP_CWORD == 1)); then
    words="${firstWords.join(" ")} help --help --version"
  else
    local command="\${COMP_WORDS[1]}"
    if ((COMP_CWORD > 2)); then command="$command \${COMP_WORDS[2]}"; fi
    case $command in
${firstWords.filter(isGroup).map(groupArms).join("\n")}
      help) words="${[...firstWords, ...Object.keys(helpTopics)].join(" ")}" ;;
${commandNames.map(commandArm).join("\n")}
    esac
  fi
  ${reply('-W "$words"')}
}
complete -F _migratekit migratekit
`;
}

/** What follows the group's name, and its name behind \`help\`. */
function groupArms(group: Parameters<typeof membersOf>[0]): string {
  const members = membersOf(group).map(lastWordOf).join(" ");
  return `      ${group}) words="${members} help --help" ;;
      "help ${group}" | "${group} help") words="${members}" ;;`;
}

function commandArm(name: CommandName): string {
  const words = [...operandsOf(name), ...names(flagsOf(name)), "--help"].join(" ");
  const files = takesFile(name) ? ` ${fileOperand}` : "";
  // Of a command of one word more may stand behind it.
  const pattern = name.includes(" ") ? `"${name}"` : `${name} | "${name} "*`;
  return `      ${pattern}) words="${words}"${files} ;;`;
}

const fileOperand = `; if [[ $cur != -* ]]; then ${reply("-f")}; compopt -o filenames; return; fi`;

function names(flags: readonly Flag[]): string[] {
  return flags.map((flag) => flag.name);
}

function arm(flags: readonly string[], action: string): string {
  return `    ${flags.join(" | ")})\n      ${action}\n      return\n      ;;`;
}

function reply(generate: string): string {
  return `mapfile -t COMPREPLY < <(compgen ${generate} -- "$cur")`;
}
