import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { OmaChangeIdStore } from "../../src/oma/oma.ts";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords, type FinishedDisk } from "../../src/state/disk-records.ts";
import { JournalStore } from "../../src/state/journal.ts";
import { changeId, rejection, temporaryDirectory, vm } from "../state/helpers.ts";
import { answerWith, dripForEver, hangUp, neverAnswer, OmaServer } from "./oma-server.ts";

const attempts = 3;
const key = `${vm.vmPath} disk-2000`;

async function setUp(t: TestContext, options: { baseUrl?: string } = {}) {
  const oma = await OmaServer.start(t, vm.vmPath);
  const db = StateDatabase.open(temporaryDirectory(t));
  t.after(() => db.close());
  const newStore = () =>
    new OmaChangeIdStore(db, {
      baseUrl: options.baseUrl ?? oma.url,
      jobId: "job 1/2",
      logger: pino({ level: "silent" }),
      requestTimeoutMs: 250,
      attempts,
      firstDelayMs: 1,
    });
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

for (const [name, answer] of [
  ["404", answerWith(404, "not found")],
  ["204", answerWith(204, "")],
  ["an empty body", answerWith(200, "")],
  ["an empty object", answerWith(200, "{}")],
  ["null", answerWith(200, '{"change_id":null}')],
  ["an empty text", answerWith(200, '{"change_id":""}')],
] as const) {
  test(`the answer ${name} means that there is no change ID`, async (t) => {
    const { oma, store } = await setUp(t);
    oma.fault = answer;
    assert.equal(await store.read(vm, 2000), undefined);
    assert.equal(oma.requests.length, 1);
  });
}

test("a change ID with blanks around it is taken without them", async (t) => {
  const { oma, store } = await setUp(t);
  oma.fault = answerWith(200, JSON.stringify({ change_id: ` ${changeId(3)}\n` }));
  assert.equal(await store.read(vm, 2000), changeId(3));
});

for (const [name, answer, message, requests] of [
  ["HTML", answerWith(200, "<html>proxy</html>"), /not JSON: <html>proxy/, 1],
  ["a list", answerWith(200, "[]"), /not a JSON object/, 1],
  ["an error in an object", answerWith(200, '{"error":"db down"}'), /db down/, 1],
  ["a number", answerWith(200, '{"change_id":7}'), /not a text/, 1],
  ["a star", answerWith(200, '{"change_id":"*"}'), /not a change ID: \*/, 1],
  ["a redirect", answerWith(302, "", { location: "/elsewhere" }), /status 302/, 1],
  ["401", answerWith(401, "who are\nyou?"), /status 401: who are you\?/, 1],
  ["500", answerWith(500, "down"), /status 500: down/, attempts],
  ["a megabyte", answerWith(200, "x".repeat(1 << 20)), /maxContentLength/, attempts],
  ["a closed connection", hangUp, /hang up/, attempts],
  ["silence", neverAnswer, /no answer within 250 ms/, attempts],
  ["a byte now and then", dripForEver, /no answer within 250 ms/, attempts],
] as const) {
  test(`reading fails when the answer is ${name}`, async (t) => {
    const { oma, store } = await setUp(t);
    oma.fault = answer;
    const error = await rejection(store.read(vm, 2000), "change-id-read");
    assert.match(error.message, message);
    assert.match(error.message, /^Reading the change ID of disk 2000 from http:\/\/127/);
    assert.equal(error.exitCode, 6);
    assert.match(error.remedy, /--full/);
    assert.equal(oma.requests.length, requests);
  });
}

test("an unreachable API fails the read, and no secret of its URL is told", async (t) => {
  const { oma } = await setUp(t);
  const baseUrl = `http://user:hunter2@127.0.0.1:${oma.port}/base/?key=hunter2`;
  await oma.stop();
  const { store } = await setUp(t, { baseUrl });
  const error = await rejection(store.read(vm, 2000), "change-id-read");
  assert.match(error.message, /ECONNREFUSED/);
  const told = [error, error.cause].map((part) => `${part} ${JSON.stringify(part)}`).join();
  assert.doesNotMatch(told, /hunter2/);
});

test("a read outlasts an API that fails for a moment", async (t) => {
  const { oma, store } = await setUp(t);
  oma.stored.set(key, changeId(1));
  oma.faults.push(hangUp, answerWith(503, ""));
  assert.equal(await store.read(vm, 2000), changeId(1));
});

test("a write is tried again for a bounded number of times", async (t) => {
  const { oma, store } = await setUp(t);
  oma.faults.push(hangUp, answerWith(503, ""));
  await store.write(vm, 2000, changeId(1), undefined);
  assert.equal(oma.stored.get(key), changeId(1));
  assert.equal(oma.requests.length, 3);
});

test("a write is not tried again where it would be refused again", async (t) => {
  const { oma, store } = await setUp(t);
  oma.fault = answerWith(404, "");
  const error = await rejection(store.write(vm, 2000, changeId(1), undefined), "change-id-write");
  assert.match(error.message, /does not know job/);
  assert.equal(oma.requests.length, 1);
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

test("an abort ends a request and the waiting at once, with the signal's reason", async (t) => {
  const { oma, store } = await setUp(t);
  oma.fault = neverAnswer;
  const controller = new AbortController();
  const reason = new Error("stopped by the operator");
  const reading = store.read(vm, 2000, controller.signal);
  while (oma.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(reason);
  await assert.rejects(reading, reason);
  const writing = store.write(vm, 2000, changeId(1), undefined, controller.signal);
  await assert.rejects(writing, reason);
});

test("proxy settings of the environment are not used", async (t) => {
  const { store } = await setUp(t);
  const before = process.env.http_proxy;
  process.env.http_proxy = "http://127.0.0.1:1";
  t.after(() => {
    if (before === undefined) delete process.env.http_proxy;
    else process.env.http_proxy = before;
  });
  assert.equal(await store.read(vm, 2000), undefined);
});
