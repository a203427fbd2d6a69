import { type CommandName, commandNames } from "../options.ts";
import { helpTopics } from "../program.ts";
import { type Flag, flagsOf } from "./flags.ts";

/** The only operands that a command takes, where they can be listed. */
export function operandsOf(command: CommandName): readonly string[] {
  if (command === "completion") return completionShells;
  return command === "config" ? ["show"] : [];
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
    words="${commandNames.join(" ")} help --help --version"
  else
    case \${COMP_WORDS[1]} in
${commandNames.map((name) => `      ${name}) words="${wordsOf(name)}" ;;`).join("\n")}
      help) words="${[...commandNames, ...Object.keys(helpTopics)].join(" ")}" ;;
    esac
  fi
  ${reply('-W "$words"')}
}
complete -F _migratekit migratekit
`;
}

function wordsOf(command: (typeof commandNames)[number]): string {
  return [...operandsOf(command), ...names(flagsOf(command)), "--help"].join(" ");
}

function names(flags: readonly Flag[]): string[] {
  return flags.map((flag) => flag.name);
}

function arm(flags: readonly string[], action: string): string {
  return `    ${flags.join(" | ")})\n      ${action}\n      return\n      ;;`;
}

function reply(generate: string): string {
  return `mapfile -t COMPREPLY < <(compgen ${generate} -- "$cur")`;
}
