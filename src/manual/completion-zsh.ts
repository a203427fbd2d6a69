import { type CommandName, commandNames } from "../options.ts";
import { commandTexts, helpTopics } from "../program.ts";
import { operandsOf } from "./completion-bash.ts";
import { type Flag, flagsOf } from "./flags.ts";

/** The script for zsh: a file `_migratekit` in its function path. */
export function zshCompletion(): string {
  const commands = commandNames.map(
    (name) => `    ${quote(`${name}:${commandTexts[name].summary.replaceAll(":", "\\:")}`)}`,
  );
  return `#compdef migratekit
# Completion of migratekit for zsh, made by "migratekit completion zsh".
_migratekit() {
  local curcontext="$curcontext" state
  local -a line commands
  commands=(
${commands.join("\n")}
    'help:help on a command or topic'
  )
  _arguments -C \\
    '(- *)'{-h,--help}'[help]' \\
    '(- *)'{-V,--version}'[version, Node and libraries]' \\
    '1:command:->command' \\
    '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $line[1] in
${commandNames.map(commandArm).join("\n")}
        help) _values topic ${[...commandNames, ...Object.keys(helpTopics)].join(" ")} ;;
      esac
      ;;
  esac
}
if [[ $funcstack[1] == _migratekit ]]; then
  _migratekit "$@"
else
  compdef _migratekit migratekit
fi
`;
}

function commandArm(name: CommandName): string {
  const words = operandsOf(name);
  const operands =
    words.length > 0
      ? [quote(`1:word:(${words.join(" ")})`)]
      : name === "status"
        ? [quote("1:job:")]
        : [];
  const specs = [...flagsOf(name).map(flagSpec), "'(- *)'{-h,--help}'[help]'", ...operands];
  return `        ${name})
          _arguments \\
            ${specs.join(" \\\n            ")}
          ;;`;
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
