/** `migratekit help TOPIC`: what the tables of the program say, at the terminal. */
import { type CatalogueEntry, catalogue, exitCodes } from "../errors.ts";
import {
  commandNames,
  type OptionName,
  type OptionSpec,
  options,
  variablesOf,
} from "../options.ts";
import { commandTexts, type helpTopics, optionsOf, programText } from "../program.ts";
import { exitCodeNotes, exitCodeTable } from "./exit-codes.ts";
import { otherVariables } from "./variables.ts";

const width = 78;

const texts: Record<keyof typeof helpTopics, () => string> = {
  errors: errorsText,
  environment: environmentText,
  "exit-codes": exitCodesText,
  json: jsonText,
};

/** The text of a topic, or of one error by its code; undefined for what is neither. */
export function topicText(name: string): string | undefined {
  if (Object.hasOwn(texts, name)) return texts[name as keyof typeof texts]();
  if (Object.hasOwn(catalogue, name)) return errorText(name);
  return undefined;
}

function entries(): [string, CatalogueEntry][] {
  return Object.entries(catalogue as Record<string, CatalogueEntry>);
}

function errorsText(): string {
  const byCode = exitCodeTable.slice(1).map(({ code, meaning }) => {
    const own = entries().filter(([, { exit }]) => exitCodes[exit] === code);
    const lines = own.flatMap(([name, entry]) => [
      `  ${name}`,
      ...filled(entry.meaning, 6),
      ...filled(`fix: ${entry.remedy}`, 6),
    ]);
    return [...filled(`Exit code ${code}: ${meaning}`, 0), ...lines].join("\n");
  });
  return `${byCode.join("\n\n")}\n`;
}

function errorText(name: string): string {
  const [, entry] = entries().find(([code]) => code === name)!;
  return `${[
    name,
    ...filled(entry.meaning, 2),
    ...filled(`fix: ${entry.remedy}`, 2),
    `  exit code ${exitCodes[entry.exit]}`,
  ].join("\n")}\n`;
}

function exitCodesText(): string {
  const rows = [
    ...exitCodeTable.map(({ code, meaning }) => hanging(String(code), meaning)),
    hanging("128+N", "ended by signal N"),
  ];
  return `${rows.join("\n")}\n\n${exitCodeNotes.flatMap((note) => filled(note, 0)).join("\n")}\n`;
}

function hanging(label: string, text: string): string {
  return filled(text, 9)
    .join("\n")
    .replace(/^ {9}/, `  ${label.padEnd(7)}`);
}

function environmentText(): string {
  const all = (Object.entries(options) as [OptionName, OptionSpec][]).flatMap(([name, spec]) =>
    variablesOf(name, spec).map((variable) => ({ variable, describe: describeOf(name, spec) })),
  );
  const lines = [...all, ...otherVariables].flatMap(({ variable, describe }) => [
    `  ${variable}`,
    ...filled(describe, 6),
  ]);
  return `${[...filled(programText.settings, 0), "", ...lines].join("\n")}\n`;
}

function describeOf(name: OptionName, spec: OptionSpec): string {
  return spec.noFlag ? spec.describe : `--${name}: ${spec.describe}`;
}

function jsonText(): string {
  const withJson = commandNames.filter((command) =>
    optionsOf(command).some(([name]) => name === "json"),
  );
  const lines = withJson.flatMap((name) => [`  ${name}`, ...filled(commandTexts[name].summary, 6)]);
  const failed = {
    status: "failed",
    error: { code: "usage", message: "...", remedy: "..." },
  };
  return `${[
    ...filled(
      `With --json a command writes one document to stdout (--watch: one for each change) and its log to stderr. Names are snake_case, amounts bytes, spans milliseconds (..._ms), times ISO 8601 in UTC. Documents only grow: a field that is there stays, and means the same. A command that fails writes`,
      0,
    ),
    "",
    `  ${JSON.stringify(failed)}`,
    "",
    ...filled(
      "Its code is one of 'migratekit help errors'; status is interrupted after a signal. Commands with --json:",
      0,
    ),
    "",
    ...lines,
  ].join("\n")}\n`;
}

/** Words in lines of at most 78 columns. */
function filled(text: string, indent: number): string[] {
  const room = width - indent;
  const lines = text.match(new RegExp(`.{1,${room}}(?= |$)|\\S+`, "g")) ?? [];
  return lines.map((line) => " ".repeat(indent) + line.trim());
}
