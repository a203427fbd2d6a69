import { firstWords, isGroup, lastWordOf, membersOf } from "../command-tree.ts";
import type { CommandName } from "../options.ts";
import { commandTexts, groupTexts, helpTopics } from "../program.ts";
import { operandsOf, takesFile } from "./completion-bash.ts";
import { type Flag, flagsOf } from "./flags.ts";

/** The script for zsh: a file `_migratekit` in its function path. */
export function zshCompletion(): string {
  const groups = firstWords.filter(isGroup);
  const entries = firstWords.map((word): Entry => {
    const { summary } = isGroup(word) ? groupTexts[word] : commandTexts[word as CommandName];
    const arm = isGroup(word) ? `_migratekit_${word}` : argumentsOf(word as CommandName);
    return { word, summary, arm };
  });
  const topics = [...firstWords, ...Object.keys(helpTopics)];
  const options = [
    "'(- *)'{-h,--help}'[help]'",
    "'(- *)'{-V,--version}'[version, Node and libraries]'",
  ];
  return `#compdef migratekit
# Completion of migratekit for zsh, made by "migratekit completion zsh".
${functionText("_migratekit", entries, topics, options)}
${groups.map(groupFunction).join("\n")}
if [[ $funcstack[1] == _migratekit ]]; then
  _migratekit "$@"
else
  compdef _migratekit migratekit
fi
`;
}

interface Entry {
  readonly word: string;
  readonly summary: string;
  /** What completes what follows the word. */
  readonly arm: string;
}

function groupFunction(group: Parameters<typeof membersOf>[0]): string {
  const entries = membersOf(group).map((name) => ({
    word: lastWordOf(name),
    summary: commandTexts[name].summary,
    arm: argumentsOf(name),
  }));
  const words = entries.map(({ word }) => word);
  return functionText(`_migratekit_${group}`, entries, words, ["'(- *)'{-h,--help}'[help]'"]);
}

/** A word out of some, then what belongs to it. */
function functionText(
  name: string,
  entries: readonly Entry[],
  topics: readonly string[],
  options: readonly string[],
): string {
  const commands = entries.map(
    ({ word, summary }) => `    ${quote(`${word}:${summary.replaceAll(":", "\\:")}`)}`,
  );
  return `${name}() {
  local curcontext="$curcontext" state
  local -a line commands
  commands=(
${commands.join("\n")}
    'help:help on a command or topic'
  )
  _arguments -C \\
${options.map((option) => `    ${option} \\`).join("\n")}
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $line[1] in
${entries.map(({ word, arm }) => `        ${word})\n          ${arm}\n          ;;`).join("\n")}
        help) _values topic ${topics.join(" ")} ;;
      esac
      ;;
  esac
}`;
}

function argumentsOf(name: CommandName): string {
  const words = operandsOf(name);
  const operands = [
    ...(words.length > 0 ? [`1:word:(${words.join(" ")})`] : []),
    ...(name === "status" ? ["1:job:"] : []),
    ...(takesFile(name) ? ["1:file:_files"] : []),
  ];
  const specs = [
    ...flagsOf(name).map(flagSpec),
    "'(- *)'{-h,--help}'[help]'",
    ...operands.map(quote),
  ];
  return `_arguments \\
            ${specs.join(" \\\n            ")}`;
}

function flagSpec(flag: Flag): string {
  const help = flag.help.replace(/[[\]:\\]/g, "\\$&");
  if (flag.value === undefined) return quote(`${flag.name}[${help}]`);
  const actions = {
    nothing: " ",
    files: "_files",
    directories: "_files -/",
    choices: `(${flag.choices.join(" ")})`,
  };
  const label = flag.value.replace(/[[\]:\\]/g, "\\$&");
  return quote(`${flag.name}=[${help}]:${label}:${actions[flag.completes]}`);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
