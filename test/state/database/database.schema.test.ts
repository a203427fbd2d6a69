import assert from "node:assert/strict";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { migrations } from "../../../src/state/database/schema.ts";
import { DiskRecords } from "../../../src/state/disk-records.ts";
import { JournalStore } from "../../../src/state/journal.ts";
import { LateWriteStore } from "../../../src/state/late-writes.ts";
import { RunStore } from "../../../src/state/runs.ts";
import { State } from "../../../src/state/state.ts";
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

/** The same, as version 2 left it, with what `rows` adds. */
function writeVersion2(stateDir: string, rows: string): void {
  const path = writeVersion1(stateDir);
  const db = new DatabaseSync(path);
  db.exec(`${migrations[1]} PRAGMA user_version = 2; ${rows}`);
  db.close();
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
  const target = { deviceKey: 2000, identity: "nbd://h/a" };
  const earlier = new LateWriteStore(db).begin(vm, target, changeId(9));
  assert.equal(earlier?.baseChangeId, changeId(8), "what was interrupted then is reckoned with");
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

test("the targets that an older state knows belong to their disks from then on", (t) => {
  const stateDir = temporaryDirectory(t);
  writeVersion2(stateDir, `UPDATE journal SET target_uri = 'nbd://h/b';`);
  using state = State.open(stateDir);
  const other = { ...vm, instanceUuid: "another" };
  for (const name of ["nbd://h/a", "nbd://h/b"]) {
    const owner = state.targets.findOtherOwner(other, { deviceKey: 2000, names: [name] });
    assert.equal(owner?.vm.instanceUuid, vm.instanceUuid, name);
    assert.equal(owner?.deviceKey, 2000);
    assert.match(owner?.since ?? "", /^2025-01-0[12]T/);
  }
});

test("of two disks that an older state has on one target the later sync's owns it, and the other starts anew", (t) => {
  const stateDir = temporaryDirectory(t);
  const later = "5029aaaa-0000-0000-0000-0d1f6a2b7c22";
  const disk = (vmId: number, key: number, sequence: number, target: string) =>
    `INSERT INTO disk VALUES (${vmId}, ${key}, ${sequence}, 'migratekit', '${changeId(sequence)}',
      1048576, '${target}', 2097152, '2025-02-01T00:00:00Z', '[]', NULL);`;
  writeVersion2(
    stateDir,
    `INSERT INTO vm VALUES (2, 'vcenter.example', '${later}', '/DC/vm/later');
     INSERT INTO pending_upload VALUES (1, 2000, '${changeId(7)}', NULL, '2025-01-01T00:00:00Z');
     ${disk(2, 2000, 3, "nbd://h/a")} ${disk(2, 2001, 2, "nbd://h/c")}`,
  );
  using state = State.open(stateDir);
  const owner = { ...vm, instanceUuid: later };
  const target = { deviceKey: 2000, names: ["nbd://h/a"] };
  assert.equal(state.targets.findOtherOwner(vm, target)?.vm.vmPath, "/DC/vm/later");
  assert.equal(state.targets.findOtherOwner(owner, target), undefined);
  const lost = state.records.readDiskRecord(vm, 2000);
  assert.deepEqual(
    [lost?.changeId, lost?.samples, lost?.unfinished, lost?.pendingUpload],
    [undefined, [], "full", false],
  );
  assert.equal(state.journals.openJournal(vm, 2000), undefined);
  assert.equal(state.records.readDiskRecord(owner, 2000)?.changeId, changeId(3));
  assert.equal(state.records.readDiskRecord(owner, 2001)?.changeId, changeId(2));
});

test("one VM that an older state has under two addresses keeps what it knows, and is merged when it is met", (t) => {
  const stateDir = temporaryDirectory(t);
  writeVersion2(
    stateDir,
    `INSERT INTO vm VALUES (2, 'localhost', '${vm.instanceUuid}', '/DC/vm/old name');
     INSERT INTO disk VALUES (2, 2000, 3, 'migratekit', '${changeId(9)}', 1048576, 'nbd://h/a',
       2097152, '2025-02-01T00:00:00Z', '[]', NULL);`,
  );
  using state = State.open(stateDir);
  const target = { deviceKey: 2000, names: ["nbd://h/a"] };
  assert.equal(state.records.readDiskRecord(vm, 2000)?.changeId, changeId(7));
  const met = { ...vm, endpointUuid: "0b7e1e4c-6c6f-4d0e-8f3c-2a5f0f1f9a01" };
  assert.equal(state.records.readDiskRecord(met, 2000)?.changeId, changeId(9));
  assert.equal(state.targets.findOtherOwner(met, target), undefined);
});
