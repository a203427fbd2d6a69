// Every command line of every page, in blocks and in running text, is one that the program knows: its command, and each
// of its flags.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { commandOf, isGroup } from "../../src/command-tree.ts";
import { optionsOf } from "../../src/program.ts";

const root = join(import.meta.dirname, "../..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const others = ["help", "completion"];
const everywhere = ["help", "version"];

interface CommandLine {
  /** A word, or the group's and the next. */
  readonly command: string;
  readonly flags: readonly string[];
}

/** In a block a line that ends with a backslash goes on; in running text a line break is a space. */
function commandLinesOf(markdown: string): CommandLine[] {
  const blocks = [...markdown.matchAll(/^```\w*[^\n]*\n([\s\S]*?)^```$/gm)].flatMap(
    ([, text = ""]) => text.replaceAll(/\\\n\s*/g, " ").split("\n"),
  );
  const prose = markdown.replaceAll(/^```[\s\S]*?^```$/gm, "");
  const spans = [...prose.matchAll(/`(migratekit [^`]+)`/g)].map(([, text = ""]) =>
    text.replaceAll(/\s+/g, " "),
  );
  return [...blocks, ...spans].flatMap((line) => {
    const [, first, second = "", rest = ""] =
      /(?:^|[\s/])migratekit ([a-z]+)\b((?: [a-z][a-z-]*\b)?)(.*)$/.exec(
        line.replace(/(^|\s)#.*$/, ""),
      ) ?? [];
    if (first === undefined) return [];
    const command = isGroup(first) ? `${first}${second}` : first;
    const flags = [...rest.matchAll(/(?:^|\s)--([a-z][a-z-]*)/g)].map(([, name = ""]) => name);
    return [{ command, flags }];
  });
}

function problemsOf({ command, flags }: CommandLine): string[] {
  // A group by its name alone is spoken of.
  if (others.includes(command) || isGroup(command)) return [];
  const known = commandOf(command.split(" "));
  if (known === undefined) return [`migratekit ${command}: no such command`];
  const taken = new Set<string>(optionsOf(known).map(([name]) => name));
  return flags
    .filter((flag) => ![flag, flag.replace(/^no-/, "")].some((name) => taken.has(name)))
    .filter((flag) => !everywhere.includes(flag))
    .map((flag) => `migratekit ${command}: no flag --${flag}`);
}

for (const page of pages) {
  test(`every command line of ${page} is one that there is`, () => {
    const lines = commandLinesOf(readFileSync(join(root, page), "utf8"));
    assert.deepEqual(lines.flatMap(problemsOf), []);
  });
}

test("a command and a flag that are not there are seen, in a block that goes on and in running text", () => {
  const text = [
    "Use `migratekit verify --config a\n--smaple`.",
    "```sh",
    "migratekit migrate \\",
    "  --config a --boot    # --not-this",
    "*/5 * * * * root /usr/bin/migratekit sync --config a",
    "migratekit fleet plan a.yaml --boot",
    "migratekit fleet plna a.yaml",
    "```",
  ].join("\n");
  assert.deepEqual(commandLinesOf(text).flatMap(problemsOf), [
    "migratekit migrate: no flag --boot",
    "migratekit sync: no such command",
    "migratekit fleet plan: no flag --boot",
    "migratekit fleet plna: no such command",
    "migratekit verify: no flag --smaple",
  ]);
});
