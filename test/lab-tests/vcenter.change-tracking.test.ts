import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { blockBytes } from "../lab/vcenter/change-map.ts";
import type { GuestWrite } from "../lab/vcenter/guest.ts";
import { startTestLab } from "./vcenter-lab.ts";

const mebibyte = 1_048_576;
/** A multiple of neither 64 KiB nor 1 MiB. */
const oddCapacityBytes = 24 * mebibyte + 13 * 512;
const oneDisk = [
  {
    name: "MyVM",
    disks: [{ capacityBytes: oddCapacityBytes, fill: { seed: 1, dataRatio: 0.5, zeroRatio: 0.1 } }],
  },
];

test("the changed areas hold every differing byte and nothing beyond the written blocks", async () => {
  await using lab = await startTestLab({ vms: oneDisk, areasPerPage: 7 });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  await client.setChangeTracking(vm.moref, true);
  let previous = await client.createSnapshot(vm.moref);
  let written: GuestWrite[] = [];
  for (let round = 1; round <= 4; round += 1) {
    const changeId = (await client.changeIds(`VirtualMachineSnapshot:${previous}`)).get(2000)!;
    const options = { seed: round, writes: 12, maximumBytes: 400_000 };
    written.push(...(await vm.randomWrites(2000, options)));
    await client.removeSnapshot(previous);
    const snapshot = await client.createSnapshot(vm.moref);
    // These come after the snapshot and must not be seen in it.
    const late = await vm.randomWrites(2000, { seed: 100 + round, writes: 3 });
    const query = [vm.moref, snapshot, 2000, changeId, oddCapacityBytes] as const;
    const { areas, pages } = await client.changedAreas(...query);
    const changed = blocksOf(areas);
    const before = await readFile(vm.frozenImage(previous, 2000));
    const after = await readFile(vm.frozenImage(snapshot, 2000));
    for (const block of differingBlocks(before, after)) assert.ok(changed.has(block), `${block}`);
    const allowed = blocksOf(written);
    for (const block of changed) assert.ok(allowed.has(block), `block ${block} was not written`);
    assert.ok(pages > 1, "the answer came in pages");
    const last = areas.at(-1)!;
    assert.equal(last.offset + last.length, oddCapacityBytes, "the last sector was written");
    assert.deepEqual([...vm.changedSince(2000, changeId, snapshot)], areas.flatMap(pairOf));
    previous = snapshot;
    written = late;
  }
});

test("tracking begins with the first snapshot after it was switched on", async () => {
  await using lab = await startTestLab({ vms: oneDisk });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM").moref;
  const machine = `VirtualMachine:${vm}`;
  const untracked = await client.createSnapshot(vm);
  assert.equal(
    (await client.changeIds(`VirtualMachineSnapshot:${untracked}`)).get(2000),
    undefined,
  );
  await assert.rejects(client.changedPage(vm, untracked, 2000, 0, "*"), /FileFault: Error caused/);
  await client.removeSnapshot(untracked);
  await client.setChangeTracking(vm, true);
  assert.equal((await client.property(machine, "config.changeTrackingEnabled"))?.text, "true");
  assert.equal((await client.changeIds(machine)).get(2000), undefined, "not before the next stun");
  const tracked = await client.createSnapshot(vm);
  const changeId = (await client.changeIds(`VirtualMachineSnapshot:${tracked}`)).get(2000)!;
  assert.match(changeId, /^([0-9a-f]{2} ){7}[0-9a-f]{2}-([0-9a-f]{2} ){7}[0-9a-f]{2}\/\d+$/);
  const live = (await client.changeIds(machine)).get(2000)!;
  assert.equal(live.split("/")[0], changeId.split("/")[0]);
  assert.equal(Number(live.split("/")[1]), Number(changeId.split("/")[1]) + 1);
});

test("* answers the blocks ever allocated, whether they hold data or zeroes", async () => {
  await using lab = await startTestLab({ vms: oneDisk });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  vm.set({ changeTrackingEnabled: true });
  const snapshot = await client.createSnapshot(vm.moref);
  const { areas } = await client.changedAreas(vm.moref, snapshot, 2000, "*", oddCapacityBytes);
  const allocated = blocksOf(areas);
  const image = await readFile(vm.frozenImage(snapshot, 2000));
  const withData = differingBlocks(Buffer.alloc(image.length), image);
  for (const block of withData) assert.ok(allocated.has(block));
  assert.ok(allocated.size > withData.size, "written zeroes are allocated");
  assert.ok(allocated.size < Math.ceil(oddCapacityBytes / blockBytes), "holes are not");
});

test("queries outside the disk, of unknown history or for no disk are refused as by vCenter", async () => {
  await using lab = await startTestLab({ vms: oneDisk });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  vm.set({ changeTrackingEnabled: true });
  const snapshot = await client.createSnapshot(vm.moref);
  const query = (offset: number, changeId: string, key = 2000) =>
    client.changedPage(vm.moref, snapshot, key, offset, changeId);
  await assert.rejects(query(oddCapacityBytes, "*"), /^Error: InvalidArgument: .*: startOffset$/);
  const stranger = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/1";
  await assert.rejects(query(0, stranger), /^Error: FileFault: Error caused by file .*MyVM\.vmdk$/);
  const own = (await client.changeIds(`VirtualMachineSnapshot:${snapshot}`)).get(2000)!;
  const future = own.replace(/\d+$/, "99");
  await assert.rejects(query(0, future), /FileFault/);
  await assert.rejects(query(0, "*", 2042), /InvalidArgument: .*deviceKey/);
  vm.resetChangeTracking();
  await client.removeSnapshot(snapshot);
  const later = await client.createSnapshot(vm.moref);
  await assert.rejects(client.changedPage(vm.moref, later, 2000, 0, own), /FileFault/);
});

test("a revert brings the bytes back under a new history", async () => {
  await using lab = await startTestLab({ vms: oneDisk });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  vm.set({ changeTrackingEnabled: true });
  const snapshot = await client.createSnapshot(vm.moref);
  const before = (await client.changeIds(`VirtualMachineSnapshot:${snapshot}`)).get(2000)!;
  await vm.randomWrites(2000, { seed: 5, writes: 5 });
  await client.finishTask(
    await client.call("RevertToSnapshot_Task", `VirtualMachineSnapshot:${snapshot}`),
  );
  const frozen = await readFile(vm.frozenImage(snapshot, 2000));
  assert.ok(frozen.equals(await readFile(vm.disk(2000).imagePath)));
  const later = await client.createSnapshot(vm.moref);
  const after = (await client.changeIds(`VirtualMachineSnapshot:${later}`)).get(2000)!;
  assert.notEqual(after.split("/")[0], before.split("/")[0]);
});

test("growing keeps the content and is refused while there is a snapshot", async () => {
  await using lab = await startTestLab({ vms: oneDisk });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  vm.set({ changeTrackingEnabled: true });
  const snapshot = await client.createSnapshot(vm.moref);
  await assert.rejects(vm.growDisk(2000, oddCapacityBytes + 512), /has snapshots/);
  await client.removeSnapshot(snapshot);
  const before = await readFile(vm.disk(2000).imagePath);
  await vm.growDisk(2000, oddCapacityBytes + 70 * 1024);
  const after = await readFile(vm.disk(2000).imagePath);
  assert.equal(after.length, oddCapacityBytes + 70 * 1024);
  assert.ok(after.subarray(0, before.length).equals(before));
  await vm.write(2000, after.length - 512, Buffer.alloc(512, 1));
  const later = await client.createSnapshot(vm.moref);
  assert.equal((await readFile(vm.frozenImage(later, 2000))).length, after.length);
});

function pairOf(area: { offset: number; length: number }): [number, number] {
  return [area.offset, area.length];
}

function blocksOf(ranges: readonly { offset: number; length: number }[]): Set<number> {
  const blocks = new Set<number>();
  for (const { offset, length } of ranges) {
    const last = Math.floor((offset + length - 1) / blockBytes);
    for (let block = Math.floor(offset / blockBytes); block <= last; block += 1) blocks.add(block);
  }
  return blocks;
}

function differingBlocks(a: Buffer, b: Buffer): Set<number> {
  assert.equal(a.length, b.length);
  const blocks = new Set<number>();
  for (let offset = 0; offset < a.length; offset += blockBytes) {
    const end = Math.min(offset + blockBytes, a.length);
    if (a.compare(b, offset, end, offset, end) !== 0) blocks.add(offset / blockBytes);
  }
  return blocks;
}
