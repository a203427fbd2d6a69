// What a program reads of a command that ends badly.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { commandNames } from "../../src/options.ts";
import { optionsOf } from "../../src/program.ts";
import { findFreePort } from "../lab/ports.ts";
import { type CliResult, startCli } from "../lab/run-cli.ts";

let dir: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), "mk-json-"));
});
after(() => rmSync(dir, { recursive: true }));

interface Failure {
  status: string;
  exit_code: number;
  error: { code: string; message: string; remedy: string };
}

/** The one document on stdout; stderr says the same to people. */
function failureOf(run: CliResult): Failure {
  assert.equal(run.stdout.trimEnd().split("\n").length, 1, run.stdout);
  const document = JSON.parse(run.stdout) as Failure;
  assert.equal(document.status, "failed");
  assert.equal(document.exit_code, run.code);
  assert.ok(document.error.message && document.error.remedy, run.stdout);
  assert.match(run.stderr, /error \[/);
  return document;
}

const withJson = commandNames.filter((name) =>
  optionsOf(name).some(([option]) => option === "json"),
);

test("an unknown flag is a document with --json, whatever the command", async () => {
  assert.ok(withJson.length >= 7);
  const runs = withJson.map(
    (name) => startCli({ args: [...name.split(" "), "--json", "--nosuch=secret-value"] }).result,
  );
  for (const run of await Promise.all(runs)) {
    const { error } = failureOf(run);
    assert.deepEqual([run.code, error.code], [2, "usage"]);
    assert.match(error.message, /unknown option '--nosuch=…'/);
    assert.ok(!`${run.stdout}${run.stderr}`.includes("secret-value"));
  }
});

test("a mistake in the settings is a document, wherever --json was asked for", async () => {
  const config = join(dir, "vm.yaml");
  writeFileSync(config, "json: true\nvma-url: nowhere\n");
  const places: [args: string[], env: Record<string, string>][] = [
    [["--json"], {}],
    [[], { MIGRATEKIT_JSON: "yes" }],
    [["--config", config], {}],
  ];
  for (const [args, env] of places) {
    const run = await startCli({ args: ["status", "x", "--vma-url", "nowhere", ...args], env })
      .result;
    assert.equal(failureOf(run).error.code, "usage");
  }
  const plain = await startCli({ args: ["status", "x", "--vma-url", "nowhere"] }).result;
  assert.equal(plain.stdout, "");
});

test("what fails when a command is under way is a document, too", async () => {
  const stateDir = join(dir, "none");
  const nowhere = `127.0.0.1:${await findFreePort()}`;
  const login = [
    "--vmware-endpoint",
    nowhere,
    "--vmware-username",
    "u",
    "--vmware-path",
    "/DC/vm/x",
  ];
  const env = { MIGRATEKIT_VMWARE_PASSWORD: "not-looked-at" };
  const expected: [args: string[], code: string][] = [
    [["history", "--state-dir", stateDir], "usage"],
    [["status", "x", "--vma-url", `http://${nowhere}`], "vma-unavailable"],
    [["cleanup", ...login, "--state-dir", stateDir], "vsphere-unreachable"],
    [["migrate", ...login, "--state-dir", stateDir], "vsphere-unreachable"],
    [["cutover", ...login, "--state-dir", stateDir], "usage"],
    [["verify", "--state-dir", stateDir], "usage"],
    [["migrate", "--vms", join(dir, "no-list"), "--state-dir", stateDir], "usage"],
    [["status", "x", "y"], "usage"],
  ];
  const runs = expected.map(([args]) => startCli({ args: [...args, "--json"], env }).result);
  for (const [at, run] of (await Promise.all(runs)).entries()) {
    assert.equal(failureOf(run).error.code, expected[at]![1], run.stderr);
  }
});

test("what is unknown is told in one line with a fix, and as JSON where the log is", async () => {
  const run = await startCli({ args: ["migrate", "--nbd-hots", "x"] }).result;
  assert.deepEqual(run.stderr.split("\n"), [
    "error [usage]: unknown option '--nbd-hots' (Did you mean --nbd-host?)",
    "  fix: Correct the flag or field that the message names; --help lists them.",
    "",
  ]);
  const logged = await startCli({ args: ["migrate", "--log-format=json", "--nbd-hots"] }).result;
  assert.equal((JSON.parse(logged.stderr) as { code: string }).code, "usage");
});
