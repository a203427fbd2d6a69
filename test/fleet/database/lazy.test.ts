// Who has no fleet does not wait for the client of its database to load.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { cliCommand } from "../../lab/run-cli.ts";
import { tempDir } from "../../temp-dir.ts";

/** Files that the command loaded, as V8 counts what ran of them. */
async function loadedBy(...args: string[]): Promise<string> {
  await using folder = await tempDir();
  const [program, ...first] = cliCommand;
  const env = { ...process.env, NODE_V8_COVERAGE: folder.path, MIGRATEKIT_STATE_DIR: folder.path };
  await new Promise((resolve) => execFile(program, [...first, ...args], { env }, resolve));
  const reports = (await readdir(folder.path)).filter((name) => name.startsWith("coverage"));
  const texts = await Promise.all(reports.map((name) => readFile(join(folder.path, name), "utf8")));
  return texts.join("");
}

const pg = "/node_modules/pg/lib/";

test("nothing but a fleet's command loads pg, and that one not before it connects", async () => {
  for (const args of [["--version"], ["list"], ["fleet", "--help"], ["fleet", "retry"]]) {
    const loaded = await loadedBy(...args);
    assert.ok(loaded.includes("/src/cli.ts"), `${args}: the report says what was loaded`);
    assert.ok(!loaded.includes(pg), args.join(" "));
  }
  const connecting = ["fleet", "retry", "--all", "--fleet-database", "postgres://a@127.0.0.1:1/b"];
  assert.ok((await loadedBy(...connecting)).includes(pg));
});
