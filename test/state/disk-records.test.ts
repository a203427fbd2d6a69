import assert from "node:assert/strict";
import { test } from "node:test";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords, type FinishedDisk } from "../../src/state/disk-records.ts";
import { type JournalStart, JournalStore } from "../../src/state/journal.ts";
import { listVms } from "../../src/state/vm-identity.ts";
import { changeId, temporaryDirectory, vm } from "./helpers.ts";

const finished: FinishedDisk = {
  deviceKey: 2000,
  changeId: changeId(5),
  capacityBytes: 2 ** 42 + 512,
  targetUri: "nbd://127.0.0.1:10808/volume%20a",
  targetSizeBytes: 2 ** 42 + 4096,
  syncedAt: "2025-03-01T12:00:00.000Z",
  samples: [
    { offset: 0, length: 1 << 20, digest: "aa" },
    { offset: 2 ** 42, length: 512, digest: "bb" },
  ],
};

const started: JournalStart = {
  mode: "full",
  baseChangeId: changeId(6),
  capacityBytes: finished.capacityBytes,
  targetUri: finished.targetUri,
  targetSizeBytes: finished.targetSizeBytes,
  startedAt: "2025-03-02T12:00:00.000Z",
  runId: "r",
};

test("a record is read back as it was written, by another process's connection too", (t) => {
  const stateDir = temporaryDirectory(t);
  using writer = StateDatabase.open(stateDir);
  using reader = StateDatabase.open(stateDir);
  new DiskRecords(writer).writeDiskRecord(vm, finished);
  assert.deepEqual(new DiskRecords(reader).readDiskRecord(vm, 2000), {
    ...finished,
    origin: "migratekit",
    pendingUpload: false,
    sequence: 1,
  });
  assert.equal(new DiskRecords(reader).readDiskRecord(vm, 2001), undefined);
});

test("each disk has its own record: the last one written does not change the others", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  for (const deviceKey of [2002, 2000, 2001]) {
    records.writeDiskRecord(vm, { ...finished, deviceKey, changeId: changeId(deviceKey) });
  }
  assert.deepEqual(
    records.listDisks(vm).map((disk) => [disk.deviceKey, disk.changeId]),
    [2000, 2001, 2002].map((key) => [key, changeId(key)]),
  );
});

test("a VM is its instance UUID behind an endpoint, wherever it was moved in the inventory", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  records.writeDiskRecord(vm, finished);
  const found = (other: Partial<typeof vm>) => records.listDisks({ ...vm, ...other }).length;
  assert.equal(found({ vmPath: "/DC/vm/moved" }), 1);
  assert.equal(found({ endpoint: "VCENTER.example" }), 1, "443 is the default port");
  assert.equal(found({ instanceUuid: vm.instanceUuid.toUpperCase() }), 1);
  assert.equal(found({ endpoint: "vcenter.example:8443" }), 0);
  assert.equal(found({ instanceUuid: "5029d1a4-6cf3-41c2-9a2e-0d1f6a2b7c12" }), 0, "a clone");
  records.writeDiskRecord({ ...vm, vmPath: "/DC/vm/moved" }, finished);
  const known = { ...vm, endpoint: "vcenter.example", vmPath: "/DC/vm/moved" };
  assert.deepEqual(listVms(db), [known]);
});

test("a disk that is distrusted has no change ID, no samples and no journal", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  const journals = new JournalStore(db);
  records.writeDiskRecord(vm, { ...finished, pendingUpload: {} });
  const since = { ...started, mode: "incremental", fromChangeId: finished.changeId } as const;
  journals.startJournal(vm, 2000, since, Float64Array.of(0, 4096));
  records.distrustDisk(vm, 2000);
  const record = records.readDiskRecord(vm, 2000);
  assert.equal(record?.changeId, undefined);
  assert.deepEqual(record?.samples, []);
  assert.equal(record?.unfinished, "full");
  assert.equal(record?.pendingUpload, false);
  assert.equal(journals.openJournal(vm, 2000), undefined);
});

test("the order of records does not depend on the clock", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  records.writeDiskRecord(vm, { ...finished, syncedAt: "2030-01-01T00:00:00Z" });
  records.writeDiskRecord(vm, { ...finished, deviceKey: 2001, syncedAt: "1999-01-01T00:00:00Z" });
  const [first, second] = records.listDisks(vm);
  assert.ok(first && second && second.sequence > first.sequence);
});

test("writing a record drops that disk's journal and no other", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  const journal = new JournalStore(db);
  for (const key of [2000, 2001]) journal.startJournal(vm, key, started, Float64Array.of(0, 512));
  records.writeDiskRecord(vm, finished);
  assert.equal(journal.openJournal(vm, 2000), undefined);
  assert.deepEqual(journal.openJournal(vm, 2001)?.finished, Float64Array.of(0, 512));
});

test("a full copy that was begun takes the change ID away until one finishes", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  const journal = new JournalStore(db);
  records.writeDiskRecord(vm, finished);
  journal.startJournal(vm, 2000, started);
  journal.discardJournal(vm, 2000);
  const record = records.readDiskRecord(vm, 2000);
  assert.equal(record?.unfinished, "full");
  assert.equal(record?.changeId, undefined);
  assert.deepEqual(record?.samples, []);
  // Not even an incremental begun by mistake, or an import, brings it back.
  journal.startJournal(vm, 2000, { ...started, mode: "incremental" });
  assert.equal(records.importChangeId(vm, 2000, changeId(1)), false);
  assert.equal(records.readDiskRecord(vm, 2000)?.unfinished, "full");
  records.writeDiskRecord(vm, finished);
  assert.equal(records.readDiskRecord(vm, 2000)?.unfinished, undefined);
  assert.equal(records.readDiskRecord(vm, 2000)?.changeId, changeId(5));
});

test("the first full copy of a disk is noted before there is a record", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  new JournalStore(db).startJournal(vm, 2000, started);
  const record = new DiskRecords(db).readDiskRecord(vm, 2000);
  assert.equal(record?.unfinished, "full");
  assert.equal(record?.changeId, undefined);
});

test("an incremental that was begun is noted until one finishes, and keeps the record", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  const journal = new JournalStore(db);
  records.writeDiskRecord(vm, finished);
  const from = { fromChangeId: changeId(5) };
  journal.startJournal(vm, 2000, { ...started, ...from, mode: "incremental" });
  journal.discardJournal(vm, 2000);
  const record = records.readDiskRecord(vm, 2000);
  assert.equal(record?.unfinished, "incremental");
  assert.equal(record?.changeId, changeId(5));
  assert.deepEqual(record?.samples, finished.samples);
});

test("an imported change ID comes without knowledge of the target", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  assert.equal(records.importChangeId(vm, 2000, changeId(3)), true);
  assert.equal(records.importChangeId(vm, 2000, changeId(4)), true, "corrected before its use");
  assert.deepEqual(records.readDiskRecord(vm, 2000), {
    deviceKey: 2000,
    origin: "imported",
    changeId: changeId(4),
    samples: [],
    pendingUpload: false,
    sequence: 2,
  });
  records.writeDiskRecord(vm, finished);
  assert.equal(records.readDiskRecord(vm, 2000)?.origin, "migratekit");
  assert.equal(records.importChangeId(vm, 2000, changeId(9)), false, "our own knows more");
  assert.equal(records.readDiskRecord(vm, 2000)?.changeId, changeId(5));
});

test("an incremental from a change ID of elsewhere notes that it was begun", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const from = { fromChangeId: changeId(5) };
  new JournalStore(db).startJournal(vm, 2000, { ...started, ...from, mode: "incremental" });
  const record = new DiskRecords(db).readDiskRecord(vm, 2000);
  assert.equal(record?.origin, "imported");
  assert.equal(record?.changeId, changeId(5));
  assert.equal(record?.unfinished, "incremental");
});

test("a forgotten disk leaves nothing", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const records = new DiskRecords(db);
  const journal = new JournalStore(db);
  records.writeDiskRecord(vm, { ...finished, pendingUpload: {} });
  assert.equal(records.readDiskRecord(vm, 2000)?.pendingUpload, true);
  journal.startJournal(vm, 2000, { ...started, mode: "incremental" });
  records.forgetDisk(vm, 2000);
  records.forgetDisk(vm, 2000);
  assert.equal(records.readDiskRecord(vm, 2000), undefined);
  assert.equal(journal.openJournal(vm, 2000), undefined);
});
