import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { DiskRecords } from "../../../src/state/disk-records.ts";
import { changeId, startFixture, temporaryDirectory, vm } from "../helpers.ts";

test("processes that start together create one state", async (t) => {
  for (let round = 0; round < 5; round++) {
    const stateDir = temporaryDirectory(t);
    const creators = [1, 2, 3, 4].map(() => startFixture(t, "creator.ts", stateDir, "wait"));
    for (const creator of creators) assert.equal(await creator.line(), "ready");
    for (const creator of creators) creator.process.stdin.write("\n");
    for (const creator of creators) assert.equal(await creator.line(), "open true");
    for (const creator of creators) creator.process.stdin.end();
    for (const creator of creators) assert.equal(await creator.ended(), 0);
    assert.deepEqual(readdirSync(stateDir), ["locks", "migratekit.db"]);
  }
});

test("whoever creates the state a moment later than another finds it, whatever it had begun", async (t) => {
  const root = temporaryDirectory(t);
  const racers = [0, 1, 2, 3].map((name) =>
    startFixture(t, "racer.ts", root, String(name), "4", "200"),
  );
  for (const racer of racers) {
    assert.equal(await racer.line(), "done");
    assert.equal(await racer.ended(), 0);
  }
  for (let round = 0; round < 200; round++)
    assert.deepEqual(readdirSync(join(root, String(round))), ["locks", "migratekit.db"]);
});

test("four processes write at once and each finds what it wrote", async (t) => {
  const stateDir = temporaryDirectory(t);
  const keys = [2000, 2001, 2002, 2003];
  const writers = keys.map((key) => startFixture(t, "writer.ts", stateDir, String(key), "2"));
  for (const writer of writers) {
    while ((await writer.line()) !== undefined);
    assert.equal(await writer.ended(), 0);
  }
  using db = StateDatabase.open(stateDir);
  const found = new DiskRecords(db).listDisks(vm);
  assert.deepEqual(
    found.map((disk) => [disk.deviceKey, disk.changeId, disk.unfinished]),
    keys.map((key) => [key, changeId(2), undefined]),
  );
  assert.equal(new Set(found.map((disk) => disk.sequence)).size, 4);
});
