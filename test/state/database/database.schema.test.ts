import assert from "node:assert/strict";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { migrations } from "../../../src/state/database/schema.ts";
import { DiskRecords } from "../../../src/state/disk-records.ts";
import { JournalStore } from "../../../src/state/journal.ts";
import { RunStore } from "../../../src/state/runs.ts";
import { changeId, fixturePath, refusal, temporaryDirectory, vm } from "../helpers.ts";

/** A file as a migratekit of schema version 1 left it, written without our code. */
function writeVersion1(stateDir: string): string {
  const path = join(stateDir, "migratekit.db");
  const db = new DatabaseSync(path);
  db.exec(readFileSync(fixturePath("schema-1.sql"), "utf8"));
  db.exec(`
    INSERT INTO vm VALUES (1, 'vcenter.example', '${vm.instanceUuid}', '/DC/vm/old name');
    INSERT INTO disk VALUES (1, 2000, 1, 'migratekit', '${changeId(7)}', 1048576, 'nbd://h/a',
      2097152, '2025-01-01T00:00:00Z', '[{"offset":0,"length":512,"digest":"ab"}]', NULL);
    INSERT INTO journal VALUES (1, 2000, 'r1', 'incremental', '${changeId(8)}', '${changeId(7)}',
      1048576, 'nbd://h/a', 2097152, '2025-01-02T00:00:00Z');
    INSERT INTO journal_segment VALUES (1, 2000, 1, x'00000000000000000000000000008040');
    INSERT INTO run VALUES (5, 'r1', 1, 'migrate', '3.0.0', 'token', 1, 'host',
      '2025-01-02T00:00:00Z', 'running', NULL, NULL, NULL);`);
  db.close();
  chmodSync(path, 0o600);
  return path;
}

function schemaOf(path: string): unknown {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const rows = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").all();
    return rows.map((row) => `${row.type} ${row.name} ${String(row.sql).replaceAll(/\s+/g, " ")}`);
  } finally {
    db.close();
  }
}

function versionOf(path: string): unknown {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return db.prepare("PRAGMA user_version").get()?.user_version;
  } finally {
    db.close();
  }
}

test("a file of schema version 1 is read and brought forward with all it holds", (t) => {
  const stateDir = temporaryDirectory(t);
  const path = writeVersion1(stateDir);
  using db = StateDatabase.open(stateDir);
  assert.equal(versionOf(path), migrations.length);
  assert.deepEqual(new DiskRecords(db).readDiskRecord(vm, 2000), {
    deviceKey: 2000,
    origin: "migratekit",
    changeId: changeId(7),
    capacityBytes: 1048576,
    targetUri: "nbd://h/a",
    targetSizeBytes: 2097152,
    syncedAt: "2025-01-01T00:00:00Z",
    samples: [{ offset: 0, length: 512, digest: "ab" }],
    pendingUpload: false,
    sequence: 1,
  });
  const journal = new JournalStore(db).openJournal(vm, 2000);
  assert.deepEqual(journal?.finished, Float64Array.of(0, 512));
  assert.equal(new RunStore(db).listRuns(vm)[0]?.runId, "r1");
});

test("a file brought forward has the same schema as a new one", (t) => {
  const old = temporaryDirectory(t);
  const fresh = temporaryDirectory(t);
  const path = writeVersion1(old);
  StateDatabase.open(old).close();
  StateDatabase.open(fresh).close();
  assert.deepEqual(schemaOf(path), schemaOf(join(fresh, "migratekit.db")));
});

test("each further step is applied once, in order, and together with its version", (t) => {
  const stateDir = temporaryDirectory(t);
  const path = writeVersion1(stateDir);
  const steps = [
    ...migrations,
    "CREATE TABLE later (a TEXT) STRICT; INSERT INTO later VALUES ('second');",
    "UPDATE later SET a = a || ' third';",
  ];
  for (let time = 0; time < 2; time++) {
    using db = StateDatabase.open(stateDir, steps);
    const text = db.view("Testing", () => db.get("SELECT a FROM later")?.text("a"));
    assert.equal(text, "second third");
    assert.equal(new DiskRecords(db).readDiskRecord(vm, 2000)?.changeId, changeId(7));
  }
  assert.equal(versionOf(path), steps.length);
  assert.match(refusal(() => StateDatabase.open(stateDir)).message, /schema version/);
});

test("a step that fails leaves the file at its old version", (t) => {
  const stateDir = temporaryDirectory(t);
  const path = writeVersion1(stateDir);
  const before = schemaOf(path);
  const steps = [...migrations, "CREATE TABLE later (a TEXT) STRICT; SELECT * FROM missing;"];
  assert.match(refusal(() => StateDatabase.open(stateDir, steps)).message, /no such table/);
  assert.deepEqual(schemaOf(path), before);
  StateDatabase.open(stateDir).close();
});
