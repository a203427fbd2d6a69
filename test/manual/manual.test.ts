import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { firstWords, isGroup, lastWordOf, membersOf } from "../../src/command-tree.ts";
import { type CatalogueEntry, catalogue } from "../../src/errors.ts";
import { bashCompletion } from "../../src/manual/completion-bash.ts";
import { fishCompletion } from "../../src/manual/completion-fish.ts";
import { zshCompletion } from "../../src/manual/completion-zsh.ts";
import { errorList } from "../../src/manual/error-list.ts";
import { flagsOf } from "../../src/manual/flags.ts";
import { manPage } from "../../src/manual/man-page.ts";
import { commandNames } from "../../src/options.ts";
import { startCli } from "../lab/run-cli.ts";

const root = join(import.meta.dirname, "../..");

test("docs/errors.md is what the catalogue says", () => {
  const page = readFileSync(join(root, "docs/errors.md"), "utf8");
  assert.equal(page, errorList(), 'run "npm run docs"');
  for (const code of Object.keys(catalogue)) assert.match(page, new RegExp(`^### ${code}$`, "m"));
});

test("every entry of the catalogue is used, and says in one line what happened and what to do", () => {
  const files = globSync("src/**/*.ts", { cwd: root }).filter(
    (name) => !name.endsWith("errors.ts"),
  );
  const sources = files.map((name) => readFileSync(join(root, name), "utf8")).join("\n");
  for (const [code, { meaning, remedy }] of Object.entries(
    catalogue as Record<string, CatalogueEntry>,
  )) {
    assert.ok(code === "bug" || sources.includes(`"${code}"`), `${code} is raised somewhere`);
    for (const text of [meaning, remedy]) {
      assert.match(text, /^\S.{9,}\.$/, `${code}: one line, a sentence: ${text}`);
      assert.doesNotMatch(text, /unknown error|something went wrong|contact support/i);
    }
  }
});

test("the man page is clean for groff and has every command and flag", () => {
  const page = manPage("3.0.0", "2025-09-06");
  const checked = spawnSync("groff", ["-man", "-Tutf8", "-ww", "-z"], { input: page });
  assert.equal(checked.stderr?.toString(), "", "groff warns of nothing");
  assert.equal(checked.status, 0);
  const shown = spawnSync("groff", ["-man", "-Tascii", "-P-c", "-rLL=200n"], { input: page });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: overstriking
  const text = shown.stdout.toString().replace(/.\u0008/g, "");
  for (const command of commandNames) {
    assert.ok(text.includes(`migratekit ${command}`), command);
    for (const { name } of flagsOf(command)) assert.ok(text.includes(name), name);
  }
});

test("help of every command fits 80 columns, is grouped and ends with an example", async () => {
  const groups = firstWords.filter(isGroup);
  assert.ok(groups.length > 0);
  const runs = ["", ...groups, ...commandNames].map((name) => ({
    name,
    result: startCli({
      args: [...name.split(" ").filter(Boolean), "--help"],
      env: { COLUMNS: "80" },
    }).result,
  }));
  for (const { name, result } of runs) {
    const { code, stdout, stderr } = await result;
    assert.equal(code, 0, stderr);
    for (const line of stdout.split("\n")) assert.ok(line.length <= 80, `${name}: ${line}`);
    assert.match(stdout, /^Examples?:\n {2}migratekit /m, name);
    if (name === "migrate") {
      for (const group of ["vSphere:", "Target:", "Run:", "Several VMs:", "Copy:", "Reporting:"]) {
        assert.ok(stdout.includes(`\n${group}\n`), group);
      }
    }
  }
});

/** What bash would offer for the last word. */
function bashOffers(...words: string[]): string[] {
  const script = `${bashCompletion()}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _migratekit 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const run = spawnSync("bash", ["-c", script, "bash", "migratekit", ...words], { cwd: root });
  assert.equal(run.status, 0, run.stderr.toString());
  return run.stdout.toString().split("\n").filter(Boolean);
}

test("bash completes commands, flags, their values and files", () => {
  assert.deepEqual(bashOffers("mi"), ["migrate"]);
  assert.deepEqual(bashOffers("status", "--wa"), ["--watch"]);
  assert.deepEqual(bashOffers("migrate", "--compression-method", "f"), ["fastlz"]);
  assert.deepEqual(bashOffers("migrate", "--compression-method", "=", "z"), ["zlib"]);
  assert.ok(bashOffers("migrate", "--config", "pack").includes("package.json"));
  assert.deepEqual(bashOffers("migrate", "--state-dir", "sr"), ["src"]);
  assert.deepEqual(bashOffers("migrate", "--job-id", ""), []);
  assert.deepEqual(bashOffers("completion", "z"), ["zsh"]);
  assert.deepEqual(bashOffers("config", "s"), ["show"]);
  assert.deepEqual(bashOffers("help", "e"), ["export", "errors", "environment", "exit-codes"]);
  assert.ok(!bashOffers("status", "--").includes("--full"));
});

test("bash completes a group's commands behind its name, then theirs", () => {
  assert.deepEqual(bashOffers("fl"), ["fleet"]);
  const members = membersOf("fleet").map(lastWordOf);
  assert.deepEqual(bashOffers("fleet", ""), [...members, "help", "--help"]);
  assert.deepEqual(bashOffers("help", "fleet", ""), members);
  assert.deepEqual(bashOffers("fleet", "help", ""), members);
  assert.ok(bashOffers("fleet", "plan", "pack").includes("package.json"));
  assert.deepEqual(bashOffers("fleet", "plan", "--js"), ["--json"]);
  assert.deepEqual(bashOffers("fleet", "plan", "package.json", "--js"), ["--json"]);
  assert.deepEqual(bashOffers("fleet", "plan", "--color", "al"), ["always"]);
  // The word of a command and that of one in a group may be the same.
  assert.ok(!bashOffers("fleet", "plan", "--").includes("--plan-target"));
});

test("the completions of all shells know every flag of every command", async () => {
  for (const script of [bashCompletion(), zshCompletion(), fishCompletion()]) {
    for (const command of commandNames) {
      for (const word of command.split(" ")) assert.ok(script.includes(word));
      for (const { name } of flagsOf(command)) assert.ok(script.includes(name.slice(2)), name);
    }
  }
  const printed = await startCli({ args: ["completion", "bash"] }).result;
  assert.equal(printed.stdout, bashCompletion());
  const unknown = await startCli({ args: ["completion", "tcsh"] }).result;
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /bash, zsh, fish/);
});
