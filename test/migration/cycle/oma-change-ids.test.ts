import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { OmaChangeIdStore } from "../../../src/migration/cycle/oma-change-ids.ts";
import { OmaApi } from "../../../src/oma/oma.ts";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { DiskRecords, type FinishedDisk } from "../../../src/state/disk-records.ts";
import { JournalStore } from "../../../src/state/journal.ts";
import { answerWith, hangUp, OmaServer } from "../../oma/oma-server.ts";
import { changeId, rejection, temporaryDirectory, vm } from "../../state/helpers.ts";

const key = `${vm.vmPath} disk-2000`;

async function setUp(t: TestContext) {
  const oma = await OmaServer.start(t, vm.vmPath);
  const db = StateDatabase.open(temporaryDirectory(t));
  t.after(() => db.close());
  const api = new OmaApi({
    baseUrl: oma.url,
    requestTimeoutMs: 250,
    attempts: 3,
    firstDelayMs: 1,
  });
  const newStore = () => new OmaChangeIdStore(db, api, "job 1/2", pino({ level: "silent" }));
  const records = new DiskRecords(db);
  return { oma, db, records, newStore, store: newStore() };
}

const finished = (id: string): FinishedDisk => ({
  deviceKey: 2000,
  changeId: id,
  capacityBytes: 512,
  targetUri: "nbd://h/a",
  targetSizeBytes: 512,
  syncedAt: "2025-01-01T00:00:00Z",
  samples: [],
});

test("reading and writing speak the API's own form", async (t) => {
  const { oma, store, records } = await setUp(t);
  assert.equal(store.kind, "oma");
  assert.equal(await store.read(vm, 2000), undefined);
  await store.write(vm, 2000, changeId(1), undefined);
  assert.equal(await store.read(vm, 2000), changeId(1));
  await store.write(vm, 2000, changeId(2), changeId(1));
  const [read, first, , second] = oma.requests;
  assert.equal(read?.method, "GET");
  assert.equal(read?.url.pathname, "/api/v1/replications/changeid");
  assert.deepEqual(Object.fromEntries(read?.url.searchParams ?? []), {
    vm_path: vm.vmPath,
    disk_id: "disk-2000",
  });
  assert.equal(first?.method, "POST");
  assert.equal(first?.url.pathname, "/api/v1/replications/job%201%2F2/changeid");
  const body = { change_id: changeId(1), disk_id: "disk-2000", previous_change_id: "" };
  assert.deepEqual(first?.body, body);
  const next = { ...body, change_id: changeId(2), previous_change_id: changeId(1) };
  assert.deepEqual(second?.body, next);
  assert.equal(records.readDiskRecord(vm, 2000), undefined, "the API alone holds it");
});

test("an ID that could not be stored is kept, used and delivered by the next run", async (t) => {
  const { oma, records, newStore, store } = await setUp(t);
  oma.stored.set(key, changeId(1));
  const previous = await store.read(vm, 2000);
  records.writeDiskRecord(vm, finished(changeId(2)));
  oma.fault = answerWith(500, "down");
  const error = await rejection(store.write(vm, 2000, changeId(2), previous), "change-id-write");
  assert.match(error.remedy, /kept locally and the next run uses it/);
  assert.equal(records.readDiskRecord(vm, 2000)?.pendingUpload, true);

  // The next run: reading works, writing does not yet.
  oma.fault = undefined;
  oma.faults.push((response) => response.end(JSON.stringify({ change_id: changeId(1) })), hangUp);
  assert.equal(await newStore().read(vm, 2000), changeId(2));
  assert.equal(records.readDiskRecord(vm, 2000)?.pendingUpload, true);

  // The one after it: all works.
  assert.equal(await newStore().read(vm, 2000), changeId(2));
  assert.equal(oma.stored.get(key), changeId(2));
  assert.equal(records.readDiskRecord(vm, 2000)?.pendingUpload, false);
  assert.deepEqual(oma.requests.at(-1)?.body, {
    change_id: changeId(2),
    disk_id: "disk-2000",
    previous_change_id: changeId(1),
  });
});

test("an unreachable API fails the read although an ID is kept locally", async (t) => {
  const { oma, store } = await setUp(t);
  oma.fault = hangUp;
  await rejection(store.write(vm, 2000, changeId(2), undefined), "change-id-write");
  await rejection(store.read(vm, 2000), "change-id-read");
});

test("death between the record and the upload leaves the upload to the next run", async (t) => {
  const { oma, records, newStore } = await setUp(t);
  oma.stored.set(key, changeId(1));
  records.writeDiskRecord(vm, {
    ...finished(changeId(2)),
    pendingUpload: { previousChangeId: changeId(1) },
  });
  assert.equal(await newStore().read(vm, 2000), changeId(2));
  assert.equal(oma.stored.get(key), changeId(2));
});

test("a write whose answer alone was lost is recognised", async (t) => {
  const { oma, records, newStore, store } = await setUp(t);
  records.writeDiskRecord(vm, finished(changeId(2)));
  oma.fault = hangUp;
  oma.storesInSpiteOfFault = true;
  await rejection(store.write(vm, 2000, changeId(2), changeId(1)), "change-id-write");
  oma.fault = undefined;
  const requests = oma.requests.length;
  assert.equal(await newStore().read(vm, 2000), changeId(2));
  assert.equal(records.readDiskRecord(vm, 2000)?.pendingUpload, false);
  assert.equal(oma.requests.length, requests + 1, "nothing is sent again");
});

const keptCases = [
  { name: "a later number of the same history", theirs: changeId(9), used: changeId(9) },
  { name: "an earlier number of the same history", theirs: changeId(3), used: changeId(5) },
  { name: "another history", theirs: changeId(1, "77"), used: changeId(1, "77") },
];
for (const { name, theirs, used } of keptCases) {
  test(`when the API has ${name} than the kept ID, the newer one is used`, async (t) => {
    const { oma, db, records, newStore, store } = await setUp(t);
    records.writeDiskRecord(vm, finished(changeId(5)));
    oma.fault = answerWith(500, "");
    await rejection(store.write(vm, 2000, changeId(5), changeId(4)), "change-id-write");
    oma.fault = undefined;
    oma.stored.set(key, theirs);
    assert.equal(await newStore().read(vm, 2000), used);
    assert.equal(oma.stored.get(key), used);
    assert.equal(new DiskRecords(db).readDiskRecord(vm, 2000)?.pendingUpload, false);
  });
}

test("the API's ID is not used after a full copy was begun and did not finish", async (t) => {
  const { oma, db, records, store } = await setUp(t);
  oma.stored.set(key, changeId(1));
  const journal = new JournalStore(db);
  journal.startJournal(vm, 2000, {
    mode: "full",
    baseChangeId: changeId(2),
    capacityBytes: 512,
    targetUri: "nbd://h/a",
    targetSizeBytes: 512,
    startedAt: "2025-01-01T00:00:00Z",
    runId: "r",
  });
  journal.discardJournal(vm, 2000);
  assert.equal(await store.read(vm, 2000), undefined);
  records.writeDiskRecord(vm, finished(changeId(3)));
  await store.write(vm, 2000, changeId(3), undefined);
  assert.equal(await store.read(vm, 2000), changeId(3));
});
