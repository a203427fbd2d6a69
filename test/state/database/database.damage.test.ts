import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { DiskRecords } from "../../../src/state/disk-records.ts";
import { JournalStore } from "../../../src/state/journal.ts";
import { changeId, refusal, temporaryDirectory, vm } from "../helpers.ts";

/** A state with enough in it that every table's pages are spread over the file. */
function populatedState(stateDir: string): string {
  using db = StateDatabase.open(stateDir);
  for (let deviceKey = 2000; deviceKey < 2016; deviceKey++) {
    new DiskRecords(db).writeDiskRecord(vm, {
      deviceKey,
      changeId: changeId(1),
      capacityBytes: 1 << 30,
      targetUri: "nbd://127.0.0.1/a",
      targetSizeBytes: 1 << 30,
      syncedAt: "2025-01-01T00:00:00Z",
      samples: Array.from({ length: 100 }, (_, i) => ({
        offset: i * 4096,
        length: 4096,
        digest: "d".repeat(64),
      })),
    });
  }
  return db.path;
}

function sqlite(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

interface Damage {
  readonly name: string;
  readonly message: RegExp;
  readonly remedy?: RegExp;
  inflict(path: string): void;
}

const damages: Damage[] = [
  {
    name: "of 0 bytes",
    message: /is empty: it was truncated/,
    inflict: (path) => writeFileSync(path, ""),
  },
  {
    name: "cut to 100 bytes",
    message: /migratekit\.db/,
    inflict: (path) => writeFileSync(path, readFileSync(path).subarray(0, 100)),
  },
  {
    name: "cut in half",
    message: /migratekit\.db/,
    inflict: (path) => {
      writeFileSync(path, readFileSync(path).subarray(0, Math.floor(statSync(path).size / 2)));
    },
  },
  {
    name: "cut short by one page",
    message: /migratekit\.db/,
    inflict: (path) => writeFileSync(path, readFileSync(path).subarray(0, -4096)),
  },
  {
    name: "that is a text",
    message: /not a database/,
    inflict: (path) => writeFileSync(path, "change ids:\n".repeat(1000)),
  },
  {
    name: "of another program",
    message: /is not a database of migratekit/,
    inflict: (path) => {
      writeFileSync(path, "");
      sqlite(path, "CREATE TABLE theirs (a)");
    },
  },
  {
    name: "with a page overwritten",
    message: /damaged|malformed/,
    inflict: (path) => {
      const bytes = readFileSync(path);
      bytes.fill(0x5a, bytes.length - 8192, bytes.length - 4096);
      writeFileSync(path, bytes);
    },
  },
  {
    name: "of a newer migratekit",
    message: /has schema version 999; this migratekit knows/,
    remedy: /Use the newer migratekit that wrote it/,
    inflict: (path) => sqlite(path, "PRAGMA user_version = 999"),
  },
];

for (const { name, message, remedy, inflict } of damages) {
  test(`a database ${name} is refused with a way out and left as it is`, (t) => {
    const stateDir = temporaryDirectory(t);
    const path = populatedState(stateDir);
    inflict(path);
    const before = readFileSync(path);
    for (const open of [StateDatabase.open, StateDatabase.openExisting]) {
      const error = refusal(() => open(stateDir));
      assert.match(error.message, message);
      assert.ok(error.message.includes(path), error.message);
      assert.match(error.remedy, remedy ?? /^Move .*migratekit\.db\* away/);
      assert.equal(error.exitCode, 6);
    }
    assert.ok(before.equals(readFileSync(path)), "the file is unchanged");
  });
}

test("content that is wrong in a sound file is reported as damage, not used", (t) => {
  const stateDir = temporaryDirectory(t);
  const path = populatedState(stateDir);
  sqlite(path, "UPDATE disk SET samples = '[{}]' WHERE device_key = 2000");
  sqlite(path, "UPDATE disk SET samples = '[' WHERE device_key = 2001");
  using db = StateDatabase.open(stateDir);
  const records = new DiskRecords(db);
  assert.match(refusal(() => records.readDiskRecord(vm, 2000)).message, /damaged/);
  assert.match(refusal(() => records.readDiskRecord(vm, 2001)).message, /damaged/);
  assert.equal(records.readDiskRecord(vm, 2002)?.changeId, changeId(1));
});

test("finished ranges that make no sense are reported as damage, not resumed from", (t) => {
  const stateDir = temporaryDirectory(t);
  const path = populatedState(stateDir);
  using db = StateDatabase.open(stateDir);
  const journal = new JournalStore(db);
  const start = {
    mode: "full",
    baseChangeId: changeId(2),
    capacityBytes: 4096,
    targetUri: "nbd://127.0.0.1/a",
    targetSizeBytes: 4096,
    startedAt: "2025-01-01T00:00:00Z",
    runId: "run",
  } as const;
  for (const ranges of ["x'00'", "zeroblob(16)", `x'${"f".repeat(32)}'`]) {
    journal.startJournal(vm, 2000, start, Float64Array.of(0, 512));
    sqlite(path, `UPDATE journal_segment SET ranges = ${ranges}`);
    assert.match(refusal(() => journal.openJournal(vm, 2000)).message, /damaged/);
  }
  journal.discardJournal(vm, 2000); // what --full does still works
  assert.equal(journal.openJournal(vm, 2000), undefined);
});
