import assert from "node:assert/strict";
import { test } from "node:test";
import { startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { startQemuNbd } from "../lab/targets.ts";
import { RawClient } from "./cloudstack-client.ts";

/** A volume that was at the appliance, as those are that something was copied to. */
async function copiedVolume(client: RawClient, appliance: string, name: string): Promise<string> {
  const id = await client.volume(name);
  await client.job("attachVolume", { id, virtualmachineid: appliance });
  await client.job("detachVolume", { id });
  return id;
}

test("a machine runs on the volume that took the place of its root, and goes back without losing it", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const root = await copiedVolume(client, cloud.appliance.id, "root");
  const data = await copiedVolume(client, cloud.appliance.id, "data");
  const id = await client.machine("web-01");
  await client.swapRoot(id, root);
  await client.job("attachVolume", { id: data, virtualmachineid: id });
  const started = await client.job("startVirtualMachine", { id });
  assert.equal(started.state, "Running");
  const volumes = await client.list("listVolumes", { virtualmachineid: id });
  assert.deepEqual(
    volumes.map((volume) => [volume.id, volume.type, volume.deviceid, volume.vmstate]),
    [
      [root, "ROOT", 0, "Running"],
      [data, "DATADISK", 1, "Running"],
    ],
  );
  // QEMU's own lock: nobody else may write there now.
  await assert.rejects(
    startQemuNbd({ file: cloud.volumeFile(data) }),
    /Failed to get "write" lock/,
  );
  await assert.rejects(
    client.job("detachVolume", { id: root }),
    /job 431: Root volume detach can happen only when vm is in states/,
  );
  await client.job("stopVirtualMachine", { id });
  for (const volume of [root, data]) await client.job("detachVolume", { id: volume });
  await client.job("destroyVirtualMachine", { id, expunge: "true" });
  assert.deepEqual(cloud.instances(), []);
  const left = cloud.volumes().map((volume) => [volume.name, volume.type, volume.instanceId]);
  assert.deepEqual(left, [
    ["root", "DATADISK", undefined],
    ["data", "DATADISK", undefined],
  ]);
  assert.deepEqual(cloud.violations, []);
});

test("without deviceid=0 a volume becomes a data disk, and the machine does not start", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const volume = await copiedVolume(client, cloud.appliance.id, "root");
  const id = await client.machine("web-01");
  const [root] = await client.list("listVolumes", { virtualmachineid: id });
  const swap = { id: volume, virtualmachineid: id, deviceid: "0" };
  await assert.rejects(client.job("attachVolume", swap), /Vm already has root volume attached/);
  await client.job("detachVolume", { id: String(root!.id) });
  const attached = await client.job("attachVolume", { id: volume, virtualmachineid: id });
  assert.deepEqual([attached.type, attached.deviceid], ["DATADISK", 1]);
  await assert.rejects(client.job("startVirtualMachine", { id }), /job 530: .*ROOT volume/);
});

test("a volume on a managed pool never becomes a root", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.volume("managed", 1, "Managed Custom Disk");
  await client.job("attachVolume", { id, virtualmachineid: cloud.appliance.id });
  await client.job("detachVolume", { id });
  const machine = await client.machine("web-01");
  await assert.rejects(
    client.swapRoot(machine, id),
    /job 431: Root volume detach is not supported for Managed DataStores/,
  );
});

test("a machine that is expunged takes the volume in its root slot along, which is noticed", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const volume = await copiedVolume(client, cloud.appliance.id, "precious");
  const id = await client.machine("web-01");
  await client.swapRoot(id, volume);
  await client.job("destroyVirtualMachine", { id, expunge: "true" });
  assert.match(cloud.violations.join(), /volume precious .* is lost with web-01/);
  await assert.rejects(client.run("listVolumes", { id: volume }), /^Error: 431/);
});

test("a destroyed machine keeps its name, MAC and address until it is expunged", async () => {
  await using cloud = await startCloudStack({ boots: false, usersMayExpunge: false });
  const client = new RawClient(cloud);
  const nic = {
    "iptonetworklist[0].ip": "192.0.2.10",
    "iptonetworklist[0].mac": "00:50:56:8A:10:01",
  };
  const id = await client.machine("web-01", nic);
  const [vm] = await client.list("listVirtualMachines", { id });
  const [card] = vm!.nic as Record<string, unknown>[];
  assert.deepEqual([card!.ipaddress, card!.macaddress], ["192.0.2.10", "00:50:56:8a:10:01"]);
  await assert.rejects(
    client.job("destroyVirtualMachine", { id, expunge: "true" }),
    /job 530: .*allow.user.expunge.recover.vm/,
  );
  await client.job("destroyVirtualMachine", { id });
  assert.deepEqual(await client.list("listVirtualMachines", { name: "web-01" }), []);
  const again = (more: Record<string, string>) =>
    client.run("deployVirtualMachine", client.machineFields("web-02", more));
  await assert.rejects(
    client.machine("web-01"),
    /^Error: 431: The vm with hostName web-01 already/,
  );
  await assert.rejects(
    again({ "iptonetworklist[0].mac": nic["iptonetworklist[0].mac"] }),
    /431: .*mac/,
  );
  await assert.rejects(again({ "iptonetworklist[0].ip": "192.0.2.10" }), /533: Unable to acquire/);
  await cloud.expungeDestroyed();
  await client.machine("web-01", nic);
});

test("cards: one MAC a network, unicast, an address of the network, and ipaddress drops macaddress", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const refused = (more: Record<string, string>) =>
    client.run("deployVirtualMachine", client.machineFields("web-01", more));
  const field = (name: string) => `iptonetworklist[0].${name}`;
  await assert.rejects(refused({ [field("mac")]: "01:00:5e:00:00:01" }), /431: .*not unicast/);
  await assert.rejects(refused({ [field("mac")]: "nonsense" }), /431: .*not valid/);
  await assert.rejects(refused({ [field("ip")]: "198.51.100.7" }), /431: .*not in the range/);
  const { "iptonetworklist[0].networkid": networkids, ...fields } = client.machineFields("web-01");
  const made = await client.job("deployVirtualMachine", {
    ...{ ...fields, networkids: networkids!, macaddress: "02:00:00:00:00:07" },
    ipaddress: "192.0.2.77",
  });
  const [card] = made.nic as Record<string, unknown>[];
  assert.equal(card!.ipaddress, "192.0.2.77");
  assert.notEqual(card!.macaddress, "02:00:00:00:00:07");
  const both = { ...fields, ipaddress: "192.0.2.78", [field("networkid")]: networkids! };
  await assert.rejects(client.run("deployVirtualMachine", both), /431: ipToNetworkMap can't be/);
});

test("a custom offering wants numbers, within its limits, and a fixed one has its own", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const bounded = { serviceofferingid: client.ids.offering("Custom Constrained") };
  const details = (cpuNumber: string, memory: string) => ({
    ...{ "details[0].cpuNumber": cpuNumber, "details[0].memory": memory, ...bounded },
  });
  const deploy = (more: Record<string, string>) =>
    client.job("deployVirtualMachine", client.machineFields("web-01", more));
  await assert.rejects(deploy(bounded), /431: Need to specify custom parameter values/);
  await assert.rejects(deploy(details("5", "1024")), /431: Invalid cpuNumber value 5/);
  const made = await deploy(details("2", "1024"));
  assert.deepEqual([made.cpunumber, made.memory, made.cpuspeed], [2, 1024, 2000]);
});

test("read-only details are taken with a new machine, and refused on a change", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.machine("web-01", { "details[0].rootDiskController": "virtio" });
  const change = (name: string, value: string) =>
    client.run("updateVirtualMachine", { id, [`details[0].${name}`]: value });
  await assert.rejects(change("rootDiskController", "scsi"), /431: .*read-only setting: rootDisk/);
  const { virtualmachine } = await change("nicAdapter", "e1000");
  assert.deepEqual((virtualmachine as { details: object }).details, {
    ...{ nicAdapter: "e1000", rootDiskController: "virtio" },
  });
});

test("the guest OS type decides the controller, and IDE cannot start with UEFI", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const uefi = { boottype: "UEFI", bootmode: "LEGACY" };
  const plain = await client.machine("other-linux", uefi);
  await assert.rejects(
    client.job("startVirtualMachine", { id: plain }),
    /job 530: .*IDE controllers are unsupported/,
  );
  const debian = await client.machine("debian", {
    ...{ ...uefi, templateid: client.ids.template("debian-12") },
  });
  assert.equal((await client.job("startVirtualMachine", { id: debian })).state, "Running");
  const told = await client.machine("told", { ...uefi, "details[0].rootDiskController": "sata" });
  assert.equal((await client.job("startVirtualMachine", { id: told })).state, "Running");
  await assert.rejects(client.machine("half", { boottype: "UEFI" }), /431: Invalid bootMode/);
});

test("a name is a host's", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  for (const name of ["1web", "web_01", "web-", "a*(b)", "x".repeat(64)])
    await assert.rejects(client.machine(name), /^Error: 431: Invalid name/, name);
  await client.machine("x".repeat(63));
});

test("a machine that is started while its volume is open elsewhere, or while its source runs, is noticed", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.machine("web-01");
  const volume = await copiedVolume(client, cloud.appliance.id, "root");
  await client.swapRoot(id, volume);
  {
    await using _server = await startQemuNbd({ file: cloud.volumeFile(volume) });
    await assert.rejects(client.job("startVirtualMachine", { id }), /job 530: .*write.* lock/);
  }
  assert.match(cloud.violations.join(), /web-01 is started while process \d+ \(qemu-nbd/);
  const macs = cloud.instances().flatMap(({ nics }) => nics.map(({ mac }) => mac));
  let running = [
    { name: "db01", macs },
    { name: "unrelated", macs: ["00:50:56:00:00:01"] },
  ];
  cloud.watchSources(() => running);
  await client.job("startVirtualMachine", { id });
  assert.match(cloud.violations.at(-1)!, /web-01 runs while its source db01 runs/);
  running = [];
  const seen = cloud.violations.length;
  await client.job("stopVirtualMachine", { id });
  assert.equal(cloud.violations.length, seen);
});

test("a machine belongs to its account: another's is refused inside the job, and not listed", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const other = new RawClient(cloud, "other");
  const admin = new RawClient(cloud, "admin");
  const id = await client.machine("web-01");
  assert.deepEqual(await other.list("listVirtualMachines"), []);
  await assert.rejects(other.job("startVirtualMachine", { id }), /job 530: .*permission/);
  const foreign = await other.volume("foreign");
  const attach = { id: foreign, virtualmachineid: id };
  await assert.rejects(client.job("attachVolume", attach), /job 530: .*permission/);
  await assert.rejects(
    admin.job("attachVolume", attach),
    /job 530: .*not belong to the same account/,
  );
  const names = await admin.list("listVirtualMachines", { listall: "true" });
  assert.deepEqual(names.map(({ name }) => name).sort(), ["appliance", "web-01"]);
});

test("a project owns what is made in it, and is listed by its ID", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const [project] = await client.list("listProjects");
  const projectid = String(project!.id);
  const { zone, diskOffering } = client.ids;
  const fields = {
    name: "p",
    zoneid: zone,
    size: "1",
    diskofferingid: diskOffering("Custom Disk"),
  };
  await client.job("createVolume", { ...fields, projectid });
  assert.deepEqual(await client.list("listVolumes", { name: "p" }), []);
  const [volume] = await client.list("listVolumes", { name: "p", projectid });
  assert.deepEqual([volume!.project, volume!.account], ["project one", undefined]);
  const other = new RawClient(cloud, "other");
  await assert.rejects(other.run("createVolume", { ...fields, projectid }), /531/);
});
