import assert from "node:assert/strict";
import { truncate } from "node:fs/promises";
import { after, before, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { assertEqualTargets, assertFailure, migrateWell, type Summary } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vcenter: { hosts: ["localhost", "127.0.0.1"], datastores: ["datastore1", "datastore2"] },
  });
});
after(() => lab.stop());

const mebibyte = 1 << 20;
const fill = { seed: 5, dataRatio: 0.5, zeroRatio: 0.1 };

async function syncedVm(name: string, disks = 2): Promise<LabVm> {
  const vm = await lab.addVm({
    name,
    disks: Array.from({ length: disks }, () => ({ capacityBytes: 6 * mebibyte, fill })),
  });
  await migrateWell(lab, vm);
  return vm;
}

function types(summary: Summary): string[] {
  return summary.disks.map((disk) => `${disk.disk_id} ${disk.sync_type}`);
}

test("a disk that was added is copied in full, the others incrementally", async () => {
  const vm = await syncedVm("added");
  await vm.addDisk({ capacityBytes: 4 * mebibyte, fill });
  await lab.targets.addVm(vm);
  assert.deepEqual(types(await migrateWell(lab, vm)), [
    "disk-2000 incremental",
    "disk-2001 incremental",
    "disk-2002 full",
  ]);
});

test("where a disk came to a VM with one export, the list to paste keeps that export", async () => {
  const vm = await syncedVm("one-export", 1);
  const name = lab.targets.exportTemplate(vm).replace("{key}", "2000");
  await vm.addDisk({ capacityBytes: 4 * mebibyte, fill });
  const run = await lab.migrate(vm, { extra: ["--nbd-export-name", name] });
  assertFailure(
    run,
    2,
    /is one export, but the VM has 2 disks/,
    new RegExp(`2000:nbd://[^,]*/${name},`),
  );
});

test("a disk that was removed is reported, and its state is kept", async () => {
  const vm = await syncedVm("removed");
  await vm.removeDisk(2001);
  const summary = await migrateWell(lab, vm);
  assert.deepEqual(types(summary), ["disk-2000 incremental"]);
  assert.match(summary.log, /disk-2001 is no longer/);
});

test("a disk that grew is copied in full, and its target must have grown too", async () => {
  const vm = await syncedVm("grown", 1);
  await vm.growDisk(2000, 8 * mebibyte);
  assertFailure(await lab.migrate(vm), 5, /\[target-too-small\]/);
  await truncate(lab.targets.disksOf(vm)[0]!.targetFile, 8 * mebibyte);
  const summary = await migrateWell(lab, vm);
  assert.deepEqual(types(summary), ["disk-2000 full"]);
  assert.match(summary.disks[0]!.reason, /capacity changed/);
});

test("a volume that only was made larger costs no full copy, and one that was exchanged besides does", async () => {
  const vm = await syncedVm("larger-volume", 1);
  const { targetFile } = lab.targets.disksOf(vm)[0]!;
  await truncate(targetFile, 8 * mebibyte);
  await vm.write(2000, mebibyte, Buffer.alloc(512, "new"));
  assert.deepEqual(types(await migrateWell(lab, vm)), ["disk-2000 incremental"]);
  await truncate(targetFile, 0);
  await truncate(targetFile, 9 * mebibyte);
  const refused = await lab.migrate(vm, { extra: ["--on-target-mismatch", "fail"] });
  assertFailure(refused, 5, /\[target-mismatch\].*not what the last run left/);
});

test("a disk under another device key has another history here: full", async () => {
  const vm = await syncedVm("rekeyed");
  await vm.rekeyDisk(2001, 2016);
  await lab.targets.addVm(vm);
  assert.deepEqual(types(await migrateWell(lab, vm)), ["disk-2000 incremental", "disk-2016 full"]);
});

test("after tracking was reset, or a snapshot reverted, everything is copied", async () => {
  const vm = await syncedVm("reset", 1);
  vm.resetChangeTracking();
  assert.deepEqual(types(await migrateWell(lab, vm)), ["disk-2000 full"]);
  const snapshot = await vm.createSnapshot({ name: "mine", description: "", quiesced: false });
  await vm.randomWrites(2000, { seed: 9, writes: 5 });
  await lab.migrate(vm);
  await vm.revertTo(snapshot.moref);
  vm.removeSnapshot(snapshot.moref);
  assert.deepEqual(types(await migrateWell(lab, vm)), ["disk-2000 full"]);
});

test("a clone under the old name is another VM: full", async () => {
  const vm = await syncedVm("original", 1);
  const clone = await lab.vcenter.cloneVm(vm, "clone");
  await lab.targets.addVm(clone);
  assert.deepEqual(types(await migrateWell(lab, clone)), ["disk-2000 full"]);
  assert.deepEqual(types(await migrateWell(lab, vm)), ["disk-2000 incremental"]);
});

test("a disk that went back in its history is copied in full, whatever vSphere answers", async () => {
  const vm = await syncedVm("reverted", 1);
  const early = await vm.createSnapshot({ name: "by hand", description: "", quiesced: false });
  await vm.randomWrites(2000, { seed: 10, writes: 20 });
  lab.vcenter.faults.add({ name: "laterIdAnswered" });
  await migrateBesideSnapshot(vm);
  await vm.revertTo(early.moref, { keepTracking: true });
  await vm.write(2000, mebibyte, Buffer.alloc(512, "new"));
  const again = await migrateBesideSnapshot(vm);
  lab.vcenter.faults.clear();
  assert.match(again.reason, /went back in its history/);
});

test("a revert that kept the history and counted past the stored number is seen by the content", async () => {
  const vm = await syncedVm("counted-past", 1);
  const early = await vm.createSnapshot({ name: "by hand", description: "", quiesced: false });
  await vm.write(2000, mebibyte, Buffer.alloc(2 * mebibyte, "what the revert undoes"));
  assert.equal((await migrateBesideSnapshot(vm)).sync_type, "incremental");
  await vm.revertTo(early.moref, { keepTracking: true });
  for (let count = 0; count < 5; count++) {
    const { moref } = await vm.createSnapshot({ name: "x", description: "", quiesced: false });
    vm.removeSnapshot(moref);
  }
  await vm.write(2000, 0, Buffer.alloc(512, "new"));
  const disk = await migrateBesideSnapshot(vm);
  assert.equal(disk.sync_type, "full");
  assert.match(disk.reason, /source differs at offset \d+ .* lists no change there/);
  assert.equal((await migrateBesideSnapshot(vm)).sync_type, "incremental");
});

/** Of a VM with one disk, which has a snapshot of its own. */
async function migrateBesideSnapshot(vm: LabVm): Promise<Summary["disks"][number]> {
  const run = await lab.migrate(vm, { extra: ["--json"] });
  assert.equal(run.code, 0, run.stderr);
  await assertEqualTargets(lab, vm);
  return (JSON.parse(run.stdout) as Summary).disks[0]!;
}

test("a VM that moved to another host and datastore goes on incrementally", async () => {
  const vm = await syncedVm("moved", 1);
  vm.move({ host: "127.0.0.1", datastore: "datastore2" });
  await vm.randomWrites(2000, { seed: 9, writes: 5 });
  assert.deepEqual(types(await migrateWell(lab, vm)), ["disk-2000 incremental"]);
});

test("every disk keeps its own change ID, and leftovers go before the new snapshot comes", async () => {
  const vm = await syncedVm("ids", 3);
  const summary = await migrateWell(lab, vm);
  assert.equal(new Set(summary.disks.map((disk) => disk.change_id)).size, 3);

  await vm.createSnapshot({
    name: "migratekit-00000000-0000-0000-0000-000000000001",
    description:
      "run=00000000-0000-0000-0000-000000000001 host=elsewhere/1 pid=1 boot=b ticks=1 started=x",
    quiesced: false,
  });
  lab.vcenter.log.clear();
  const kept = await lab.migrate(vm);
  assert.equal(kept.code, 7, kept.stderr);
  assert.match(kept.stderr, /another run works on ids, or has died and left its snapshot/);
  assert.equal(vm.snapshots.length, 1, "another host's snapshot stays");
});
