import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { startTestLab } from "./vcenter-lab.ts";

const capacityBytes = 4_194_304;
const twoDisks = [{ name: "MyVM", disks: [{ capacityBytes }, { capacityBytes }] }];

test("all disks of a snapshot are of one instant although the guest goes on writing", async () => {
  await using lab = await startTestLab({ vms: twoDisks });
  const vm = lab.vcenter.vm("MyVM");
  let stopping = false;
  // The guest counts on both disks in turn: the second may be behind by one, never more, never ahead.
  const guest = (async () => {
    for (let count = 1; !stopping; count += 1) {
      const sector = Buffer.alloc(512);
      sector.writeUInt32LE(count);
      await vm.write(2000, 0, sector);
      await vm.write(2001, capacityBytes - 512, sector);
    }
  })();
  const counts: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    const snapshot = await lab.client.createSnapshot(vm.moref);
    const first = (await readFile(vm.frozenImage(snapshot, 2000))).readUInt32LE(0);
    const image = await readFile(vm.frozenImage(snapshot, 2001));
    const second = image.readUInt32LE(capacityBytes - 512);
    assert.ok(first - second === 0 || first - second === 1, `${first} and ${second}`);
    counts.push(first);
    await lab.client.removeSnapshot(snapshot);
  }
  stopping = true;
  await guest;
  assert.ok(counts.at(-1)! > counts[0]!, "the guest was writing all along");
});

test("a frozen copy stays as it is, also after its snapshot is removed", async () => {
  await using lab = await startTestLab({ vms: twoDisks });
  const vm = lab.vcenter.vm("MyVM");
  await vm.randomWrites(2000, { seed: 1, writes: 4, maximumBytes: 100_000 });
  const snapshot = await lab.client.createSnapshot(vm.moref);
  const frozen = vm.frozenImage(snapshot, 2000);
  const then = await readFile(frozen);
  await vm.randomWrites(2000, { seed: 2, writes: 4, maximumBytes: 100_000 });
  await lab.client.removeSnapshot(snapshot);
  assert.ok((await readFile(frozen)).equals(then));
  const [copy] = lab.vcenter.frozenCopies(vm);
  assert.equal(copy?.snapshot, snapshot);
  assert.equal(copy?.disks[0]?.imagePath, frozen);
});

test("files for the stand-in VDDK exist exactly while the snapshot does", async () => {
  await using lab = await startTestLab({ vms: twoDisks });
  const { labDir, username, password, thumbprintSha1 } = lab.vcenter;
  const vm = lab.vcenter.vm("MyVM");
  const credentials = await readFile(path.join(labDir, "vddk", "credentials"), "utf8");
  assert.equal(credentials, `${username}\n${password}\n${thumbprintSha1}\nlocalhost:902\n`);
  const snapshot = await lab.client.createSnapshot(vm.moref);
  const directory = path.join(labDir, "vddk", "snapshots", snapshot);
  assert.deepEqual((await readdir(directory)).sort(), ["2000.map", "2001.map"]);
  assert.equal(
    await readFile(path.join(directory, "2001.map"), "utf8"),
    `${vm.moref}\n[datastore1] MyVM/MyVM_1.vmdk\n${vm.frozenImage(snapshot, 2001)}\n`,
  );
  await lab.client.removeSnapshot(snapshot);
  assert.ok(!existsSync(directory));
});

test("the machine writes to delta files while snapshots exist, and removal merges their names", async () => {
  await using lab = await startTestLab({ vms: twoDisks });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  const first = await client.createSnapshot(vm.moref);
  const second = await client.createSnapshot(vm.moref);
  const namesOf = () => [
    vm.snapshot(first)?.disks[0]?.fileName,
    vm.snapshot(second)?.disks[0]?.fileName,
    vm.disk(2000).record.fileName,
  ];
  const [base, delta1, delta2] = ["", "-000001", "-000002"].map(
    (suffix) => `[datastore1] MyVM/MyVM${suffix}.vmdk`,
  );
  assert.deepEqual(namesOf(), [base, delta1, delta2]);
  await client.removeSnapshot(first);
  assert.deepEqual(namesOf(), [undefined, base, delta2]);
  const map = path.join(vcenter.labDir, "vddk", "snapshots", second, "2000.map");
  assert.equal((await readFile(map, "utf8")).split("\n")[1], base);
  await client.removeSnapshot(second);
  assert.deepEqual(namesOf(), [undefined, undefined, base]);
});

test("removing one snapshot leaves its children, and removing children takes them along", async () => {
  await using lab = await startTestLab({ vms: twoDisks });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  const users = await vm.createSnapshot({ name: "user's", description: "", quiesced: false });
  const ours = await client.createSnapshot(vm.moref);
  const child = await vm.createSnapshot({ name: "child", description: "", quiesced: false });
  await client.removeSnapshot(ours);
  assert.deepEqual(
    vm.snapshots.map(({ moref, parent }) => [moref, parent]),
    [
      [users.moref, undefined],
      [child.moref, users.moref],
    ],
  );
  const started = await client.call(
    "RemoveSnapshot_Task",
    `VirtualMachineSnapshot:${users.moref}`,
    "<removeChildren>true</removeChildren>",
  );
  await client.finishTask(started);
  assert.deepEqual(vm.snapshots, []);
});

test("independent disks are left out of a snapshot and physical ones forbid it", async () => {
  await using lab = await startTestLab({
    vms: [
      {
        name: "independent",
        disks: [{ capacityBytes }, { capacityBytes, mode: "independent_persistent" }],
      },
      { name: "physical", disks: [{ capacityBytes }, { capacityBytes, backing: "rdmPhysical" }] },
      { name: "shared", sharedBuses: { 0: "physicalSharing" }, disks: [{ capacityBytes }] },
    ],
  });
  const { client, vcenter } = lab;
  const independent = vcenter.vm("independent");
  const snapshot = await client.createSnapshot(independent.moref);
  assert.ok(existsSync(independent.frozenImage(snapshot, 2000)));
  assert.ok(!existsSync(independent.frozenImage(snapshot, 2001)));
  for (const name of ["physical", "shared"]) {
    const vm = vcenter.vm(name);
    await assert.rejects(client.createSnapshot(vm.moref), /SnapshotIncompatibleDeviceInVm/);
    assert.deepEqual(vm.snapshots, []);
  }
});
