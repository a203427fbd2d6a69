import assert from "node:assert/strict";
import { open, readlink } from "node:fs/promises";
import { test } from "node:test";
import { startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { startQemuNbd } from "../lab/targets.ts";
import { RawClient } from "./cloudstack-client.ts";

const gibibyte = 1 << 30;

test("a volume has whole GiB, and a device at the appliance from its first attachment on", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.volume("disk one", 2);
  const [fresh] = await client.list("listVolumes", { id });
  assert.deepEqual(
    [fresh!.state, fresh!.size, fresh!.type, fresh!.deviceid, fresh!.virtualmachineid],
    ["Allocated", 2 * gibibyte, "DATADISK", undefined, undefined],
  );
  const machine = cloud.appliance.id;
  const attached = await client.job("attachVolume", { id, virtualmachineid: machine });
  assert.deepEqual(
    [attached.state, attached.deviceid, attached.virtualmachineid],
    ["Ready", 1, machine],
  );
  const device = cloud.deviceOf(id);
  assert.equal(device, `${cloud.deviceFolder}/virtio-${id.replaceAll("-", "").slice(0, 20)}`);
  assert.equal(await readlink(device), cloud.volumeFile(id));
  await using file = await open(device, "r+");
  assert.equal((await file.stat()).size, 2 * gibibyte);
});

test("a volume is detached once nobody has it open, and stays where somebody has", async () => {
  await using cloud = await startCloudStack({ boots: false, detachTimeoutMs: 300 });
  const client = new RawClient(cloud);
  const id = await client.volume("held");
  await client.job("attachVolume", { id, virtualmachineid: cloud.appliance.id });
  {
    await using _server = await startQemuNbd({ file: cloud.deviceOf(id), exportName: id });
    await assert.rejects(
      client.job("detachVolume", { id }),
      /job 530: Failed to detach volume .* in use by process \d+ \(qemu-nbd/,
    );
    assert.equal(await readlink(cloud.deviceOf(id)), cloud.volumeFile(id));
    const [volume] = await client.list("listVolumes", { id });
    assert.equal(volume!.virtualmachineid, cloud.appliance.id);
  }
  await client.job("detachVolume", { id });
  await assert.rejects(readlink(cloud.deviceOf(id)), /ENOENT/);
  assert.deepEqual(cloud.violations, []);
});

test("what is wrong with an attachment is told inside the job", async () => {
  await using cloud = await startCloudStack({ boots: false, dataVolumesMax: 2 });
  const client = new RawClient(cloud);
  const appliance = cloud.appliance.id;
  const [one, two, three] = [
    await client.volume("1"),
    await client.volume("2"),
    await client.volume("3"),
  ];
  await client.job("attachVolume", { id: one, virtualmachineid: appliance });
  await assert.rejects(
    client.job("attachVolume", { id: one, virtualmachineid: appliance }),
    /job 431: Please specify a volume that is not attached to any VM/,
  );
  await assert.rejects(
    client.job("attachVolume", { id: two, virtualmachineid: appliance, deviceid: "1" }),
    /job 530: deviceId 1 is used/,
  );
  await assert.rejects(
    client.job("attachVolume", { id: two, virtualmachineid: appliance, deviceid: "0" }),
    /job 431: Root volume detach can happen only when vm is in states: Stopped or Destroyed/,
  );
  await client.job("attachVolume", { id: two, virtualmachineid: appliance });
  await assert.rejects(
    client.job("attachVolume", { id: three, virtualmachineid: appliance }),
    /job 431: The specified VM already has the maximum number of data disks \(2\)/,
  );
  await assert.rejects(client.run("deleteVolume", { id: one }), /431: .*not attached to any VM/);
  await assert.rejects(
    client.run("attachVolume", { id: "no-such", virtualmachineid: appliance }),
    /^Error: 431: Unable to execute API command attachvolume due to invalid value. Invalid parameter id/,
  );
});

test("the third place of data disks is the CD's", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const places = [];
  for (const name of ["a", "b", "c", "d"]) {
    const id = await client.volume(name);
    const { deviceid } = await client.job("attachVolume", {
      ...{ id, virtualmachineid: cloud.appliance.id },
    });
    places.push(deviceid);
  }
  assert.deepEqual(places, [1, 2, 4, 5]);
});

test("volumes are limited, for each account and each offering", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  await client.volume("here", 3);
  cloud.setLimits("operator", { volume: 3 });
  await client.volume("another");
  await assert.rejects(
    client.volume("one too many"),
    /^Error: 535: Maximum amount of resources of Type = 'volume' for Account Name = 'operator'/,
  );
  cloud.setLimits("operator", { primary_storage: 10 });
  await assert.rejects(client.volume("too big", 5), /535: .*'primary_storage'/);
  const fields = { name: "x", zoneid: client.ids.zone };
  const custom = { ...fields, diskofferingid: client.ids.diskOffering("Custom Disk") };
  await assert.rejects(client.run("createVolume", custom), /431: .*requires a custom size/);
  const fixed = await client
    .job("createVolume", {
      ...{ ...fields, diskofferingid: client.ids.diskOffering("5 GiB") },
    })
    .catch((error: Error) => error.message);
  assert.match(String(fixed), /535/);
  cloud.setLimits("operator", {});
  const { size } = await client.job("createVolume", {
    ...{ ...fields, diskofferingid: client.ids.diskOffering("5 GiB"), size: "1" },
  });
  assert.equal(size, 5 * gibibyte);
});

test("a volume made from a snapshot has the bytes of that moment", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.volume("original");
  await client.job("attachVolume", { id, virtualmachineid: cloud.appliance.id });
  const write = async (text: string) => {
    await using file = await open(cloud.deviceOf(id), "r+");
    await file.write(text, 4096);
  };
  await write("before");
  const snapshot = await client.job("createSnapshot", { volumeid: id, name: "then" });
  assert.equal(snapshot.state, "BackedUp");
  await write("behind");
  const copy = await client.job("createVolume", { name: "copy", snapshotid: String(snapshot.id) });
  await client.job("deleteSnapshot", { id: String(snapshot.id) });
  await using file = await open(cloud.volumeFile(String(copy.id)), "r");
  const { buffer } = await file.read(Buffer.alloc(6), 0, 6, 4096);
  assert.equal(buffer.toString(), "before");
  assert.deepEqual(await client.list("listSnapshots"), []);
});

test("tags find a volume again, and there is one of each key", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.volume("tagged");
  await client.volume("not tagged");
  const tags = (key: string, value: string) => ({ "tags[0].key": key, "tags[0].value": value });
  const one = { resourceids: id, resourcetype: "Volume", ...tags("disk", "a*(b)!'~ c+d&e") };
  await client.job("createTags", one);
  const found = await client.list("listVolumes", tags("disk", "a*(b)!'~ c+d&e"));
  assert.deepEqual(
    found.map(({ name, tags: shown }) => [name, (shown as { key: string }[])[0]!.key]),
    [["tagged", "disk"]],
  );
  assert.deepEqual(await client.list("listVolumes", tags("disk", "another")), []);
  await assert.rejects(client.job("createTags", one), /job 431: tag disk already on Volume/);
  assert.equal((await client.list("listTags", { resourceid: id })).length, 1);
});
