import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { DiskRecords } from "../../../src/state/disk-records.ts";
import { VmLock } from "../../../src/state/lock/lock.ts";
import { refusal, startFixture, temporaryDirectory, vm } from "../helpers.ts";

const isRoot = process.geteuid?.() === 0;
const modeOf = (path: string) => statSync(path).mode & 0o7777;

for (const umask of ["000", "077", "777"]) {
  test(`with umask ${umask} the directories are 0700 and every file 0600`, async (t) => {
    const stateDir = join(temporaryDirectory(t), "a", "state");
    const fixture = startFixture(t, "populate.ts", stateDir, umask);
    assert.equal(await fixture.line(), "locked and in a transaction");
    for (const name of readdirSync(stateDir, { recursive: true, encoding: "utf8" })) {
      const expected = name === "locks" ? 0o700 : 0o600;
      assert.equal(modeOf(join(stateDir, name)), expected, name);
    }
    assert.ok(existsSync(join(stateDir, "migratekit.db-journal")), "the transaction has a journal");
    assert.equal(modeOf(stateDir), 0o700);
    fixture.process.stdin.end();
    assert.equal(await fixture.ended(), 0);
  });
}

test("each connection asks SQLite for durability through a power cut", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  db.view("Testing", () => {
    assert.equal(db.get("PRAGMA synchronous")?.number("synchronous"), 3); // EXTRA
    assert.equal(db.get("PRAGMA journal_mode")?.text("journal_mode"), "delete");
  });
});

test("a closed database leaves one file, and closing again does nothing", (t) => {
  const stateDir = temporaryDirectory(t);
  const db = StateDatabase.open(stateDir);
  db.close();
  db.close();
  assert.deepEqual(readdirSync(stateDir), ["locks", "migratekit.db"]);
});

test("looking at a state that does not exist creates nothing", (t) => {
  const stateDir = join(temporaryDirectory(t), "none");
  assert.equal(StateDatabase.openExisting(stateDir), undefined);
  assert.equal(existsSync(stateDir), false);
});

test("looking at a state that exists reads it", (t) => {
  const stateDir = temporaryDirectory(t);
  StateDatabase.open(stateDir).close();
  using db = StateDatabase.openExisting(stateDir);
  assert.ok(db);
  assert.deepEqual(new DiskRecords(db).listDisks(vm), []);
});

test("a directory that cannot be created is refused, with the reason", (t) => {
  const dir = temporaryDirectory(t);
  writeFileSync(join(dir, "file"), "");
  const error = refusal(() => StateDatabase.open(join(dir, "file", "state")));
  assert.match(error.message, /file\/state: a part of the path is not a directory/);
  assert.equal(error.exitCode, 6);
  refusal(() => StateDatabase.open("/proc/migratekit-state"));
});

test("a path that is no directory is refused", (t) => {
  const path = join(temporaryDirectory(t), "file");
  writeFileSync(path, "precious");
  assert.match(refusal(() => StateDatabase.open(path)).message, /not a directory/);
  assert.equal(readFileSync(path, "utf8"), "precious");
});

test("a symbolic link is refused as directory, database, and lock", (t) => {
  const dir = temporaryDirectory(t);
  const real = join(dir, "real");
  mkdirSync(real, { mode: 0o700 });
  symlinkSync(real, join(dir, "link"));
  assert.match(refusal(() => StateDatabase.open(join(dir, "link"))).message, /symbolic link/);

  const victim = join(dir, "victim");
  writeFileSync(victim, "precious");
  for (const name of ["migratekit.db", "migratekit.db.new"]) {
    const stateDir = join(dir, `with-${name}`);
    mkdirSync(stateDir, { mode: 0o700 });
    symlinkSync(victim, join(stateDir, name));
    assert.match(refusal(() => StateDatabase.open(stateDir)).message, /symbolic link/);
  }
  mkdirSync(join(real, "locks"), { mode: 0o700 });
  symlinkSync(victim, join(real, "locks", `${vm.instanceUuid}.lock`));
  const locking = refusal(() => VmLock.acquire(real, vm.instanceUuid, vm));
  assert.match(locking.message, /symbolic link/);
  assert.equal(readFileSync(victim, "utf8"), "precious");
});

test("a directory that others may write to is refused and left as it is", (t) => {
  const stateDir = temporaryDirectory(t);
  for (const mode of [0o1777, 0o770]) {
    chmodSync(stateDir, mode);
    const error = refusal(() => StateDatabase.open(stateDir));
    assert.match(error.message, /others may write/);
    assert.match(error.remedy, /chmod 700/);
    assert.equal(modeOf(stateDir), mode);
  }
  chmodSync(stateDir, 0o755); // readable is no harm: the files are private
  StateDatabase.open(stateDir).close();
  assert.equal(modeOf(stateDir), 0o755);
});

test("a directory or database of another user is refused", (t) => {
  const stateDir = temporaryDirectory(t);
  StateDatabase.open(stateDir).close();
  if (!isRoot) {
    assert.match(refusal(() => StateDatabase.open("/")).message, /belongs to uid 0/);
    return;
  }
  chownSync(join(stateDir, "migratekit.db"), 65534, 65534);
  assert.match(refusal(() => StateDatabase.open(stateDir)).message, /belongs to uid 65534/);
  chownSync(stateDir, 65534, 65534);
  assert.match(refusal(() => StateDatabase.open(stateDir)).message, /belongs to uid 65534/);
});

test("a database that became readable for others is made private again", (t) => {
  const stateDir = temporaryDirectory(t);
  StateDatabase.open(stateDir).close();
  chmodSync(join(stateDir, "migratekit.db"), 0o644);
  StateDatabase.open(stateDir).close();
  assert.equal(modeOf(join(stateDir, "migratekit.db")), 0o600);
});
