/** The manual page of one command: its own flags, its examples. */
import { slugOf } from "../command-tree.ts";
import { type CommandName, groups } from "../options.ts";
import { commandTexts, optionsOf, programText } from "../program.ts";
import { exitCodeTable } from "./exit-codes.ts";
import { type Flag, flagsOf } from "./flags.ts";
import { example, prose, roff, term } from "./roff.ts";

/** `migratekit-NAME.1`, hyphens in the name for spaces; `date` is ISO, of the version. */
export function commandPage(name: CommandName, version: string, date: string): string {
  const { summary, description, examples } = commandTexts[name];
  const flags = flagsOf(name);
  const slug = roff(slugOf(name));
  return [
    `.TH MIGRATEKIT\\-${slug.toUpperCase()} 1 "${date}" "migratekit ${version}" "User Commands"`,
    ".SH NAME",
    `migratekit\\-${slug} \\- ${roff(summary)}`,
    ".SH SYNOPSIS",
    ...synopsisOf(name),
    ".SH DESCRIPTION",
    prose(description),
    ...(flags.length > 0 ? [".SH OPTIONS", ...optionLines(flags)] : []),
    ...(flags.length > 0 ? [".SH ENVIRONMENT", prose(programText.settings)] : []),
    ".SH EXIT STATUS",
    ...exitCodeTable.flatMap(({ code, meaning }) => term(`${code}`, meaning)),
    ...term("128+N", "ended by signal N"),
    ".SH EXAMPLES",
    ...examples.flatMap(example).slice(1), // no space after the heading
    ".SH SEE ALSO",
    ".BR migratekit (1)",
    "",
  ].join("\n");
}

function optionLines(flags: readonly Flag[]): string[] {
  return Object.entries(groups).flatMap(([group, title]) => {
    const own = flags.filter((flag) => flag.group === group);
    return own.length === 0 ? [] : [`.SS ${roff(title)}`, ...own.flatMap(flagEntry)];
  });
}

export function synopsisOf(name: CommandName): string[] {
  const { operand } = commandTexts[name];
  const operands = [
    ...(optionsOf(name).length > 0 ? ["[\\fIoptions\\fR]"] : []),
    ...(operand ? [roff(operand)] : []),
  ];
  return [`.B migratekit ${name}`, operands.join(" ")];
}

export function flagEntry(flag: Flag): string[] {
  const value = flag.value === undefined ? "" : ` \\fI${roff(flag.value)}\\fR`;
  const short = flag.short === undefined ? "" : `\\fB${roff(flag.short)}\\fR, `;
  const fallback = flag.fallback === undefined ? "" : ` [${flag.fallback}]`;
  return [".TP", `${short}\\fB${roff(flag.name)}\\fR${value}`, prose(`${flag.help}${fallback}`)];
}
