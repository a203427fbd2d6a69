// `migratekit help TOPIC` and the pages of the commands: made from the tables, so nothing is missing.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { firstWords, isGroup, membersOf, slugOf } from "../../src/command-tree.ts";
import { type CatalogueEntry, catalogue, exitCodes } from "../../src/errors.ts";
import { commandPage } from "../../src/manual/command-page.ts";
import { flagsOf } from "../../src/manual/flags.ts";
import {
  commandNames,
  type OptionName,
  type OptionSpec,
  options,
  variablesOf,
} from "../../src/options.ts";
import { helpTopics } from "../../src/program.ts";
import { startCli } from "../lab/run-cli.ts";

async function help(...topic: string[]): Promise<string> {
  const { code, stdout, stderr } = await startCli({ args: ["help", ...topic] }).result;
  assert.equal(code, 0, stderr);
  for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
  return stdout;
}

const words = (text: string) => text.replaceAll(/\s+/g, " ");

test("help errors has every error with its meaning, remedy and exit code, and help CODE has one", async () => {
  const text = await help("errors");
  const blocks = text.split(/^(?=Exit code )/m);
  for (const [code, entry] of Object.entries(catalogue as Record<string, CatalogueEntry>)) {
    const block = blocks.find((part) => part.startsWith(`Exit code ${exitCodes[entry.exit]}:`));
    assert.ok(block?.includes(`\n  ${code}\n`), code);
    assert.ok(words(block!).includes(`${entry.meaning} fix: ${entry.remedy}`), code);
  }
  const one = await help("target-too-small");
  assert.match(words(one), /^target-too-small .*smaller.* fix: .* exit code 5 $/);
});

test("help environment has every variable, help exit-codes every code, help json every command with --json", async () => {
  const environment = await help("environment");
  for (const [name, spec] of Object.entries(options) as [OptionName, OptionSpec][]) {
    for (const variable of variablesOf(name, spec)) {
      assert.ok(environment.includes(`  ${variable}\n`), variable);
    }
  }
  const codes = await help("exit-codes");
  for (const code of Object.values(exitCodes))
    assert.match(codes, new RegExp(`^  ${code} +\\w`, "m"));
  const json = await help("json");
  for (const name of commandNames) {
    const has = flagsOf(name).some((flag) => flag.name === "--json");
    assert.equal(new RegExp(`^  ${name}$`, "m").test(json), has, name);
  }
});

test("the general help names every topic; what is none is refused with all of them", async () => {
  const general = await startCli({ args: ["--help"] }).result;
  const unknown = await startCli({ args: ["help", "nosuch"] }).result;
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /\[usage\]: there is no help on "nosuch"/);
  for (const topic of Object.keys(helpTopics)) {
    assert.ok(general.stdout.includes(`help ${topic} `), topic);
    assert.ok(unknown.stderr.includes(topic), topic);
  }
  assert.match(await help("migrate"), /^Usage: migratekit migrate /);
});

test("help GROUP lists the group's commands, and help GROUP COMMAND is the command's own", async () => {
  for (const group of firstWords.filter(isGroup)) {
    const listed = await help(group);
    assert.match(listed, new RegExp(`^Usage: migratekit ${group} `));
    for (const name of membersOf(group)) {
      const word = name.split(" ").at(-1)!;
      assert.match(listed, new RegExp(`^  ${word} `, "m"));
      const own = await help(...name.split(" "));
      assert.match(own, new RegExp(`^Usage: migratekit ${name} `));
      const { stdout } = await startCli({ args: [...name.split(" "), "--help"] }).result;
      assert.equal(stdout, own);
    }
  }
});

test("a group alone is its help and a mistake, and a word that is none of its commands is named with the nearest", async () => {
  const alone = await startCli({ args: ["fleet"] }).result;
  assert.equal(alone.code, 2);
  assert.match(alone.stderr, /^Usage: migratekit fleet /);
  const tries = [
    ["fleet", "plna"],
    ["fleet", "plna", "--help"],
    ["help", "fleet", "plna"],
  ];
  for (const args of tries) {
    const run = await startCli({ args }).result;
    assert.equal(run.code, 2, args.join(" "));
    assert.equal(run.stdout, "");
    assert.match(run.stderr, /\[usage\]: unknown command 'plna' \(Did you mean plan\?\)/);
  }
});

test("every command has a page that is clean for groff and has its flags and no other", () => {
  const everything = new Set(
    commandNames.flatMap((name) => flagsOf(name).map((flag) => flag.name)),
  );
  for (const name of commandNames) {
    const page = commandPage(name, "3.0.0", "2025-09-06");
    const checked = spawnSync("groff", ["-man", "-Tutf8", "-ww", "-z"], { input: page });
    assert.equal(checked.stderr?.toString(), "", "groff warns of nothing");
    assert.equal(checked.status, 0);
    const shown = spawnSync("groff", ["-man", "-Tascii", "-P-c", "-rLL=200n"], { input: page });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: overstriking
    const text = shown.stdout.toString().replace(/.\u0008/g, "");
    assert.match(text, new RegExp(`^ +migratekit-${slugOf(name)} - \\w`, "m"));
    const own = flagsOf(name).map((flag) => flag.name);
    const entries = new Set(
      text.match(/^ {7}(?:-[a-z], )?--[a-z-]+/gm)?.map((entry) => entry.replace(/.* /, "")),
    );
    assert.deepEqual(entries, new Set(own), name);
    if (own.length > 0 && name !== "config") assert.ok(own.length < everything.size);
  }
});
