import assert from "node:assert/strict";
import { test } from "node:test";
import { LocalChangeIdStore } from "../../src/state/change-ids.ts";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords } from "../../src/state/disk-records.ts";
import { changeId, temporaryDirectory, vm } from "./helpers.ts";

const target = {
  deviceKey: 2000,
  capacityBytes: 512,
  targetUri: "nbd://h/a",
  targetSizeBytes: 512,
  syncedAt: "2025-01-01T00:00:00Z",
  samples: [],
};

test("the local store reads what the disk's record holds", async (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  const store = new LocalChangeIdStore(records);
  assert.equal(store.kind, "local");
  assert.equal(await store.read(vm, 2000), undefined);
  records.writeDiskRecord(vm, { ...target, changeId: changeId(1) });
  await store.write(vm, 2000, changeId(1));
  assert.equal(await store.read(vm, 2000), changeId(1));
  assert.equal(await store.read(vm, 2001), undefined);
});

test("the local store refuses a change ID whose record was not written first", async (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const store = new LocalChangeIdStore(new DiskRecords(db));
  await assert.rejects(store.write(vm, 2000, changeId(1)), /writeDiskRecord/);
  assert.equal(await store.read(vm, 2000), undefined);
});
