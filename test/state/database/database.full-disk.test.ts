import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { fixtureCommand, mountingShell, startCommand, temporaryDirectory } from "../helpers.ts";

interface Said {
  readonly title: string;
  readonly result?: unknown;
  readonly code?: string;
  readonly message?: string;
  readonly remedy?: string;
}

async function runInShell(t: TestContext, command: readonly string[]): Promise<Said[]> {
  const child = startCommand(t, command);
  const said: Said[] = [];
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    said.push(JSON.parse(line));
  }
  assert.equal(await child.ended(), 0);
  return said;
}

const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(" ");

/** Runs a fixture on a tmpfs of 512 KiB of its own. */
function runOnSmallDisk(t: TestContext, ...extra: string[]): Promise<Said[]> {
  const dir = temporaryDirectory(t);
  const mount = `mount -t tmpfs -o size=512k,mode=0700 none '${dir}'`;
  const args = [join(dir, "state"), join(dir, "filler"), ...extra];
  const fixture = quoted(fixtureCommand("full-disk.ts", ...args));
  return runInShell(t, [...mountingShell(), `${mount}; exec ${fixture}`]);
}

test("a full disk refuses the write clearly, keeps what was stored, and goes on later", async (t) => {
  const [append, kept, later] = await runOnSmallDisk(t);
  assert.equal(append?.code, "state-unusable");
  assert.match(
    append?.message ?? "",
    /^Writing the resume journal of disk 2000 failed: .*no space/,
  );
  assert.match(append?.remedy ?? "", /what was stored is intact/);
  assert.deepEqual(kept, { title: "kept", result: true });
  assert.deepEqual(later, { title: "after room was made", result: true });
});

test("a state cannot be created on a full disk, and can once there is room", async (t) => {
  const [create, , kept, later] = await runOnSmallDisk(t, "new");
  assert.equal(create?.code, "state-unusable");
  assert.match(create?.message ?? "", /no space/);
  assert.deepEqual(kept, { title: "kept", result: true });
  assert.deepEqual(later, { title: "after room was made", result: true });
});

test("a limit on the size of files is reported and loses nothing", async (t) => {
  const stateDir = temporaryDirectory(t);
  const fixture = quoted(fixtureCommand("full-disk.ts", stateDir, ""));
  const [append, kept] = await runInShell(t, ["bash", "-c", `ulimit -f 300; exec ${fixture}`]);
  assert.equal(append?.code, "state-unusable");
  assert.match(append?.message ?? "", /refused to read or write/);
  assert.deepEqual(kept, { title: "kept", result: true });
});

test("on a read-only file system a run is refused, and looking works", async (t) => {
  const dir = temporaryDirectory(t);
  const stateDir = join(dir, "state");
  mkdirSync(stateDir, { mode: 0o700 });
  StateDatabase.open(stateDir).close();
  const mount = `mount --bind '${dir}' '${dir}'; mount -o remount,bind,ro '${dir}'`;
  const fixture = quoted(fixtureCommand("read-only.ts", stateDir));
  const said = await runInShell(t, [...mountingShell(), `${mount}; exec ${fixture}`]);
  assert.deepEqual(
    said.map(({ title, code, result }) => ({ title, code, result })),
    [
      { title: "open", code: "state-unusable", result: undefined },
      { title: "lock", code: "state-unusable", result: undefined },
      { title: "look", code: undefined, result: 0 },
      { title: "write", code: "state-unusable", result: undefined },
    ],
  );
  for (const { message } of said.filter(({ code }) => code))
    assert.match(message ?? "", /read-only/);
});

test("a directory without permission to write is refused", async (t) => {
  const stateDir = temporaryDirectory(t);
  const fixture = quoted(fixtureCommand("read-only.ts", join(stateDir, "locked", "state")));
  // Root may write anywhere: it drops that capability; others take their own permission away.
  const drop = process.geteuid?.() === 0 ? "setpriv --bounding-set -dac_override " : "";
  const script = `mkdir '${stateDir}/locked'; chmod 500 '${stateDir}/locked'; exec ${drop}${fixture}`;
  const [open] = await runInShell(t, ["bash", "-c", script]);
  assert.equal(open?.code, "state-unusable");
  assert.match(open?.message ?? "", /permission denied/);
});
