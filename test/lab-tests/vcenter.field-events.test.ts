import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { get, post, startTestLab, type TestLab } from "./vcenter-lab.ts";

const mebibyte = 1 << 20;
const capacityBytes = 16 * mebibyte + 512;
const key = 2000;
const disks = [{ capacityBytes, fill: { seed: 1, dataRatio: 0.5 } }];
const vms = [{ name: "MyVM", changeTracking: true, disks }];
const datastores = ["datastore1", "datastore2"];

async function snapshotOf(lab: TestLab, name = "test"): Promise<string> {
  return (await post<{ moref: string }>(lab.vcenter, "/vm/snapshot", { vm: "MyVM", name })).moref;
}

async function changeIdOf(lab: TestLab, snapshot: string): Promise<string> {
  return (await lab.client.changeIds(`VirtualMachineSnapshot:${snapshot}`)).get(key)!;
}

async function offsetsOf(lab: TestLab, snapshot: string, changeId: string): Promise<number[]> {
  const query = [lab.vcenter.vm("MyVM").moref, snapshot, key, changeId, capacityBytes] as const;
  return (await lab.client.changedAreas(...query)).areas.map(({ offset }) => offset);
}

function writeAt(vm: LabVm, ...mebibytes: number[]): Promise<unknown> {
  return Promise.all(
    mebibytes.map((at) => vm.write(key, at * mebibyte, Buffer.alloc(512, at + 1))),
  );
}

/** The file that VDDK opens for a disk of a snapshot, and the image that it then reads. */
async function publishedOf(lab: TestLab, snapshot: string): Promise<[file: string, image: string]> {
  const map = join(lab.vcenter.labDir, "vddk/snapshots", snapshot, `${key}.map`);
  const [, file, image] = (await readFile(map, "utf8")).split("\n");
  return [file!, image!];
}

test("a revert can keep the tracking UUID and give numbers again that were given before", async () => {
  await using lab = await startTestLab({ vms });
  const vm = lab.vcenter.vm("MyVM");
  const early = await snapshotOf(lab);
  await writeAt(vm, 1);
  await lab.client.removeSnapshot(await snapshotOf(lab));
  await writeAt(vm, 2);
  const late = await snapshotOf(lab);
  const [uuid, lateNumber] = (await changeIdOf(lab, late)).split("/");
  const lateId = `${uuid}/${lateNumber}`;

  await post(lab.vcenter, "/vm/revert", { vm: "MyVM", snapshot: early, keepTracking: true });
  const image = await readFile(vm.disk(key).imagePath);
  assert.ok(image.equals(await readFile(vm.frozenImage(early, key))));
  await writeAt(vm, 5);
  const after = await snapshotOf(lab);
  const [sameUuid, number] = (await changeIdOf(lab, after)).split("/");
  assert.equal(sameUuid, uuid);
  assert.ok(Number(number) < Number(lateNumber), `${number} after ${lateNumber}`);
  const earlyId = await changeIdOf(lab, early);
  assert.deepEqual(await offsetsOf(lab, after, earlyId), [5 * mebibyte]);

  await assert.rejects(offsetsOf(lab, after, lateId), /FileFault/);
  await post(lab.vcenter, "/faults", { name: "laterIdAnswered" });
  assert.deepEqual(await offsetsOf(lab, after, lateId), [], "what the revert undid is not told");
});

test("after such a revert the numbers grow past a stored one, whose answer then misses the revert", async () => {
  await using lab = await startTestLab({ vms });
  const vm = lab.vcenter.vm("MyVM");
  const early = await snapshotOf(lab);
  await writeAt(vm, 1);
  const late = await snapshotOf(lab);
  const lateId = await changeIdOf(lab, late);
  await post(lab.vcenter, "/vm/revert", { vm: "MyVM", snapshot: early, keepTracking: true });
  await lab.client.removeSnapshot(await snapshotOf(lab));
  await writeAt(vm, 7);
  const after = await snapshotOf(lab);
  assert.deepEqual(await offsetsOf(lab, after, lateId), [7 * mebibyte]);
  const [then, now] = await Promise.all(
    [late, after].map((moref) => readFile(vm.frozenImage(moref, key))),
  );
  assert.notDeepEqual(
    then!.subarray(mebibyte, mebibyte + 512),
    now!.subarray(mebibyte, mebibyte + 512),
  );
});

test("a disk that moves to another datastore takes the files of its snapshots along", async () => {
  await using lab = await startTestLab({ vms, datastores });
  const snapshot = await snapshotOf(lab);
  const [file, image] = await publishedOf(lab, snapshot);
  assert.equal(file, "[datastore1] MyVM/MyVM.vmdk");
  const frozen = await readFile(image);
  const changeId = await changeIdOf(lab, snapshot);
  await post(lab.vcenter, "/vm/move", { vm: "MyVM", key, datastore: "datastore2" });
  assert.deepEqual(await publishedOf(lab, snapshot), ["[datastore2] MyVM/MyVM.vmdk", image]);
  assert.ok(frozen.equals(await readFile(image)));
  const { fileName } = lab.vcenter.vm("MyVM").disk(key).record;
  assert.equal(fileName, "[datastore2] MyVM/MyVM-000001.vmdk");
  assert.equal(await changeIdOf(lab, snapshot), changeId);
  await writeAt(lab.vcenter.vm("MyVM"), 3);
  assert.deepEqual(await offsetsOf(lab, await snapshotOf(lab), changeId), [3 * mebibyte]);
});

test("a motion that resets tracking makes every ID given before unknown, in mid-copy too", async () => {
  await using lab = await startTestLab({ vms, datastores });
  const early = await snapshotOf(lab);
  const earlyId = await changeIdOf(lab, early);
  const snapshot = await snapshotOf(lab);
  assert.deepEqual(await offsetsOf(lab, snapshot, earlyId), []);
  const move = { vm: "MyVM", datastore: "datastore2", resetTracking: true };
  await post(lab.vcenter, "/vm/move", move);
  await assert.rejects(offsetsOf(lab, snapshot, earlyId), /FileFault/);
  const later = await snapshotOf(lab);
  await assert.rejects(offsetsOf(lab, later, earlyId), /FileFault/);
  const laterUuid = (await changeIdOf(lab, later)).split("/")[0];
  assert.notEqual(laterUuid, earlyId.split("/")[0]);
});

test("a consolidation renames the file under a snapshot that is being read", async () => {
  await using lab = await startTestLab({ vms });
  const vm = lab.vcenter.vm("MyVM");
  const foreign = await snapshotOf(lab, "backup");
  const remove = { vm: "MyVM", snapshot: foreign, merge: false };
  await post(lab.vcenter, "/vm/removeSnapshot", remove);
  assert.equal(vm.record.consolidationNeeded, true);
  const snapshot = await snapshotOf(lab);
  const [before, image] = await publishedOf(lab, snapshot);
  assert.equal(before, "[datastore1] MyVM/MyVM-000001.vmdk");
  const changeId = await changeIdOf(lab, snapshot);
  await post(lab.vcenter, "/vm/consolidate", { vm: "MyVM" });
  assert.deepEqual(await publishedOf(lab, snapshot), ["[datastore1] MyVM/MyVM.vmdk", image]);
  assert.equal(vm.record.consolidationNeeded, false);
  assert.equal(vm.disk(key).record.fileName, "[datastore1] MyVM/MyVM-000002.vmdk");
  assert.equal(await changeIdOf(lab, snapshot), changeId);
  await lab.client.removeSnapshot(snapshot);
  assert.equal(vm.disk(key).record.fileName, "[datastore1] MyVM/MyVM.vmdk");
});

test("tracking that began over a snapshot can leave changes out of its answers, without a fault", async () => {
  await using lab = await startTestLab({ vms: [{ name: "MyVM", disks }] });
  const vm = lab.vcenter.vm("MyVM");
  const foreign = await snapshotOf(lab, "backup");
  await post(lab.vcenter, "/vm/set", { vm: "MyVM", changeTracking: true });
  const first = await snapshotOf(lab);
  await writeAt(vm, 1, 3, 5, 7);
  await lab.client.removeSnapshot(foreign);
  const second = await snapshotOf(lab);
  const changeId = await changeIdOf(lab, first);
  const all = [1, 3, 5, 7].map((at) => at * mebibyte);
  assert.deepEqual(await offsetsOf(lab, second, changeId), all);
  await post(lab.vcenter, "/faults", { name: "changesLeftOut" });
  assert.deepEqual(await offsetsOf(lab, second, changeId), [3 * mebibyte, 7 * mebibyte]);
  const truth = `/truth?vm=MyVM&key=${key}&since=${encodeURIComponent(changeId)}`;
  const { areas } = await get<{ areas: { offset: number }[] }>(lab.vcenter, truth);
  assert.deepEqual(
    areas.map(({ offset }) => offset),
    all,
  );
});

test("tracking that began without a snapshot tells every change under the same fault", async () => {
  await using lab = await startTestLab({ vms: [{ name: "MyVM", disks }] });
  await post(lab.vcenter, "/faults", { name: "changesLeftOut" });
  await post(lab.vcenter, "/vm/set", { vm: "MyVM", changeTracking: true });
  const first = await snapshotOf(lab);
  await writeAt(lab.vcenter.vm("MyVM"), 1, 3);
  const second = await snapshotOf(lab);
  const offsets = await offsetsOf(lab, second, await changeIdOf(lab, first));
  assert.deepEqual(offsets, [mebibyte, 3 * mebibyte]);
});

test("* can leave out an area that is allocated, the first or that of a given byte", async () => {
  await using lab = await startTestLab({ vms });
  const snapshot = await snapshotOf(lab);
  const [first, second, ...rest] = await offsetsOf(lab, snapshot, "*");
  assert.ok(rest.length > 0);
  await post(lab.vcenter, "/faults", { name: "starLeavesOut" });
  assert.deepEqual(await offsetsOf(lab, snapshot, "*"), [second, ...rest]);
  await post(lab.vcenter, "/faults/clear", {});
  await post(lab.vcenter, "/faults", { name: "starLeavesOut", value: second! + 70_000 });
  assert.deepEqual(await offsetsOf(lab, snapshot, "*"), [first, ...rest]);
});
