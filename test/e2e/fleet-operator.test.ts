// An operator's commands for a fleet, as typed, with a real PostgreSQL: from an empty database to a cutover.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { schemaSteps } from "../../src/fleet/database/schema/schema.ts";
import { FleetStore } from "../../src/fleet/database/store.ts";
import { createLogger } from "../../src/logger.ts";
import { LabPostgres } from "../lab/postgres.ts";
import { startCli } from "../lab/run-cli.ts";
import { tempDir } from "../temp-dir.ts";

const folder = await tempDir();
after(() => folder[Symbol.asyncDispose]());
const access = ["host fleet fleet 127.0.0.1/32 scram-sha-256"];
const server = await LabPostgres.start({ access });
after(() => server[Symbol.asyncDispose]());
await server.createDatabase("fleet");
await server.psql("postgres", "ALTER ROLE fleet PASSWORD 'open sesame'");
const passwordFile = join(folder.path, "password");
await writeFile(passwordFile, "open sesame\n", { mode: 0o600 });
const url = server.url("fleet", "fleet");
const planFile = join(folder.path, "plan.yaml");

const env = {
  MIGRATEKIT_FLEET_DATABASE: url,
  MIGRATEKIT_FLEET_DATABASE_PASSWORD_FILE: passwordFile,
  MIGRATEKIT_STATE_DIR: folder.path,
};

async function fleet(...args: string[]) {
  return await startCli({ args: ["fleet", ...args], env }).result;
}

async function documentOf(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr, code } = await fleet(...args, "--json");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function writePlan(names: readonly string[], more = ""): Promise<void> {
  const entries = names.map((name) =>
    [
      `  - vmware-path: /DC/vm/${name}`,
      `    nbd-export-name: ${name}`,
      `    wave: "${name.slice(0, 1)}"`,
    ].join("\n"),
  );
  await writeFile(
    planFile,
    `${more}defaults:\n  vmware-endpoint: vc.example.com\nvms:\n${entries.join("\n")}\n`,
  );
}

test("before 'fleet init' every command says that it is missing", async () => {
  await writePlan(["a1"]);
  const { code, stderr } = await fleet("apply", planFile);
  assert.equal(code, 11);
  assert.match(stderr, /holds no fleet/);
  assert.match(stderr, /migratekit fleet init/);
});

test("init, apply, pause, resume, retry, cutover: each says whom it concerned", async () => {
  assert.match(
    (await fleet("init")).stdout,
    new RegExp(`schema has version ${schemaSteps.length}\\n`),
  );
  assert.equal((await documentOf("init")).schema_version, schemaSteps.length, "again is harmless");
  await writePlan(["a1", "a2", "b1"]);
  const first = await fleet("apply", planFile);
  assert.equal(first.stdout, "added 3 VMs: a1, a2, b1\nunchanged 0 VMs\n");
  assert.match(first.stderr, /no target-drop-time/);
  await writePlan(["a1", "a3", "b1"], "fleet:\n  target-drop-time: 30s\n");
  const applied = await documentOf("apply", planFile);
  const { added, changed, unchanged, released, stopping } = applied;
  assert.deepEqual(
    { added, changed, unchanged, released, stopping },
    {
      added: ["a3"],
      changed: [],
      unchanged: 2,
      released: ["a2"],
      stopping: [],
    },
  );
  assert.equal((await fleet("pause", "--wave", "a")).stdout, "paused: 2 VMs: a1, a3\n");
  assert.deepEqual((await documentOf("resume", "--vm", "a1")).vms, ["a1"]);
  assert.deepEqual((await documentOf("resume", "--all", "--takeover")).vms, []);
  assert.deepEqual((await documentOf("cutover", "--vm", "a1,b1")).vms, ["a1", "b1"]);
  assert.deepEqual((await documentOf("cutover", "--all", "--cancel")).vms, ["a1", "b1"]);
  assert.equal((await fleet("retry", "--all")).stdout, "to be tried again: no VM\n");
});

test("what is not said or not there is a mistake of usage, and named", async () => {
  for (const [args, message] of [
    [["pause"], /not said which VMs/],
    [["pause", "--all", "--vm", "a1"], /--all/],
    [["cutover", "--wave", "z"], /no wave z/],
    [["retry", "--vm", "nobody"], /no nobody/],
    [["init", "--worker-role", "nobody"], /no such role/],
    [["init", "--worker-role", "fleet"], /owns the fleet/],
    [["apply", "/nowhere.yaml"], /nowhere/],
  ] as const) {
    const { code, stderr } = await fleet(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
});

test("a password has no place on the command line, and is nowhere repeated", async () => {
  const given = url.replace("fleet@", "fleet:sesame@");
  const { code, stdout, stderr } = await startCli({
    args: ["fleet", "init", "--fleet-database", given, "--json", "--debug"],
    env: { MIGRATEKIT_STATE_DIR: folder.path },
  }).result;
  assert.equal(code, 2);
  assert.match(stderr, /--fleet-database-password-file/);
  assert.doesNotMatch(stdout + stderr, /sesame/);
});

test("what an operator said reaches a worker", async () => {
  const logger = createLogger({ level: "silent", pretty: false });
  await using store = await FleetStore.open(url, passwordFile, logger, { application: "test" });
  assert.equal((await fleet("pause", "--wave", "a")).code, 0);
  const lease = (await store.claim({ name: "worker", labels: [] }))!;
  assert.equal(lease.vm.name, "b1");
  assert.equal(lease.vm.settings["nbd-export-name"], "b1");
  assert.equal((await fleet("pause", "--all")).code, 0);
  assert.equal(await store.renew(lease), "stop");
});
