/** What readVm sees of machines of every kind, and change tracking being switched on. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { MigratekitError } from "../../src/errors.ts";
import { type LabClient, startLabClient } from "./lab-client.ts";

const mebibyte = 1_048_576;
const disk = { capacityBytes: mebibyte };

let started: LabClient;
before(async () => {
  started = await startLabClient({
    vms: [
      {
        name: "plain",
        folder: "Folder",
        disks: [{ capacityBytes: mebibyte - 512 }, { capacityBytes: 2 * mebibyte, thin: false }],
      },
      {
        name: "cold",
        powerState: "poweredOff",
        tools: "notInstalled",
        hardwareVersion: 4,
        disks: [disk],
      },
      {
        name: "kinds",
        disks: [
          { ...disk, mode: "independent_persistent" },
          { ...disk, backing: "rdmPhysical" },
          { ...disk, backing: "rdmVirtual" },
          { ...disk, backing: "sparse" },
          { ...disk, backing: "seSparse" },
          { ...disk, sharing: "sharingMultiWriter" },
          { ...disk, key: 2016 },
        ],
        sharedBuses: { 1: "physicalSharing" },
      },
      { name: "secret", encrypted: true, disks: [disk] },
      { name: "tracked", disks: [disk, disk] },
    ],
  });
});
after(async () => await started?.[Symbol.asyncDispose]());

/** The lab gives each machine's card a MAC out of its reference. */
const plainMac = () => {
  const number = Number(started.lab.vm("plain").moref.replace("vm-", "")).toString(16);
  return `00:50:56:00:${number.padStart(4, "0").replace(/^../, "$&:")}`;
};

const read = (name: string) => started.client.readVm(started.lab.vm(name).moref);

test("a machine's identity, host and state are read", async () => {
  const { record } = started.lab.vm("plain");
  const { disks, ...vm } = await read("plain");
  assert.deepEqual(vm, {
    moref: record.moref,
    name: "plain",
    instanceUuid: record.instanceUuid,
    hardwareVersion: 19,
    powerState: "poweredOn",
    changeTrackingSupported: true,
    changeTrackingEnabled: false,
    toolsRunning: true,
    encrypted: false,
    consolidationNeeded: false,
    template: false,
    connectionState: "connected",
    host: {
      moref: "host-9",
      name: "localhost",
      version: "7.0.3",
      connectionState: "connected",
    },
    hardware: {
      name: "plain",
      firmware: "bios",
      secureBoot: false,
      cpus: 2,
      memoryMiB: 2048,
      guestId: "debian11_64Guest",
      nics: [{ mac: plainMac(), network: "VM Network", addresses: [] }],
    },
    snapshots: [],
  });
  assert.deepEqual(
    disks.map(({ uuid, ...rest }) => rest),
    [
      {
        key: 2000,
        label: "Hard disk 1",
        capacityBytes: mebibyte - 512,
        controllerKey: 1000,
        unitNumber: 0,
        controller: { kind: "pvscsi", bus: 0 },
        fileName: "[datastore1] plain/plain.vmdk",
        backing: "flat",
        diskMode: "persistent",
        thin: true,
        datastore: "datastore1",
      },
      {
        key: 2001,
        label: "Hard disk 2",
        capacityBytes: 2 * mebibyte,
        controllerKey: 1000,
        unitNumber: 1,
        controller: { kind: "pvscsi", bus: 0 },
        fileName: "[datastore1] plain/plain_1.vmdk",
        backing: "flat",
        diskMode: "persistent",
        thin: false,
        datastore: "datastore1",
      },
    ],
  );
});

test("firmware, secure boot, processors, memory, boot disk and network cards are read", async () => {
  const vm = started.lab.vm("plain");
  const cards = [
    { mac: "00:50:56:AB:CD:01", network: "Front <1>", addresses: ["192.0.2.7", "2001:db8::7"] },
    { mac: "00:50:56:ab:cd:02", addresses: ["192.0.2.8/25", "2001:db8::8/64"] },
  ];
  const told = { guestId: "windows2019srv_64Guest", guestFullName: "Windows", nics: cards };
  vm.set({
    hardware: {
      firmware: "efi",
      secureBoot: true,
      cpus: 6,
      memoryMiB: 3072,
      bootDiskKey: 2001,
      ...told,
    },
  });
  const { hardware } = await read("plain");
  const [first, second] = [
    { mac: "00:50:56:ab:cd:01", network: "Front <1>" },
    { mac: "00:50:56:ab:cd:02", network: "VM Network" },
  ];
  assert.deepEqual(hardware, {
    name: "plain",
    firmware: "uefi",
    secureBoot: true,
    cpus: 6,
    memoryMiB: 3072,
    guestId: "windows2019srv_64Guest",
    nics: [
      { ...first, addresses: ["192.0.2.7", "2001:db8::7"] },
      { ...second, addresses: ["192.0.2.8/25", "2001:db8::8/64"] },
    ],
    bootDiskKey: 2001,
  });
  vm.setPowerState("poweredOff");
  assert.deepEqual((await read("plain")).hardware.nics, [
    { ...first, addresses: [] },
    { ...second, addresses: [] },
  ]);
  vm.setPowerState("poweredOn");
  vm.set({ hardware: {} });
});

test("a powered-off machine of old hardware without Tools is told from a new one", async () => {
  const vm = await read("cold");
  assert.equal(vm.powerState, "poweredOff");
  assert.equal(await started.client.readPowerState(vm.moref), "poweredOff");
  assert.equal(vm.hardwareVersion, 4);
  assert.equal(vm.changeTrackingSupported, false);
  assert.equal(vm.toolsRunning, false);
});

test("disks that a snapshot cannot hold are told apart by mode, backing and sharing", async () => {
  const { disks } = await read("kinds");
  assert.deepEqual(
    disks.map(({ key, diskMode, backing, sharing }) => [key, diskMode, backing, sharing]),
    [
      [2000, "independent_persistent", "flat", undefined],
      [2001, "persistent", "rdmPhysical", undefined],
      [2002, "persistent", "rdmVirtual", undefined],
      [2003, "persistent", "sparse", undefined],
      [2004, "persistent", "seSparse", undefined],
      [2005, "persistent", "flat", "multiWriter"],
      [2016, "persistent", "flat", "physicalBus"],
    ],
  );
});

test("an encrypted machine is seen to be encrypted", async () => {
  const vm = await read("secret");
  assert.equal(vm.encrypted, true);
  assert.equal(vm.disks[0]?.encrypted, true);
});

describe("change tracking", () => {
  test("is switched on by a reconfiguration and gives each disk an ID at the next snapshot", async () => {
    const { moref } = started.lab.vm("tracked");
    await started.client.enableChangeTracking(moref);
    const enabled = await read("tracked");
    assert.equal(enabled.changeTrackingEnabled, true);
    assert.deepEqual(
      enabled.disks.map((disk) => disk.changeId),
      [undefined, undefined],
    );

    const spec = { name: "first", description: "", quiesce: false };
    const snapshot = await started.client.createSnapshot(moref, spec);
    const ids = (await started.client.readSnapshotDisks(snapshot.moref)).map(
      (disk) => disk.changeId,
    );
    for (const id of ids) assert.match(id ?? "", /^([0-9a-f]{2}[ -]?){16}\/\d+$/);
    assert.equal(new Set(ids).size, 2);
    const later = (await read("tracked")).disks;
    for (const disk of later) assert.match(disk.fileName, /-000001\.vmdk$/);
    for (const disk of await started.client.readSnapshotDisks(snapshot.moref))
      assert.doesNotMatch(disk.fileName, /-000001/);
  });

  test("that a host refuses is reported as unavailable", async () => {
    await assert.rejects(
      started.client.enableChangeTracking(started.lab.vm("cold").moref),
      (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, "cbt-unavailable");
        assert.equal(error.context.fault, "NotSupported");
        return true;
      },
    );
  });

  test("that a VM's state does not allow has a remedy for that state", async () => {
    const vm = started.lab.vm("plain");
    await using client = await started.connect({ busyMs: 300 });
    const refused = async (fault: string, remedy: RegExp) => {
      await assert.rejects(client.enableChangeTracking(vm.moref), (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.context.fault, fault, error.message);
        assert.match(error.remedy, remedy);
        return true;
      });
    };
    vm.setPowerState("suspended");
    await refused("InvalidPowerState", /resume it or power it off/);
    vm.setPowerState("poweredOn");
    started.lab.setHost("localhost", { connectionState: "disconnected" });
    await refused("HostNotConnected", /Connect the VM's ESXi host/);
    started.lab.setHost("localhost", { connectionState: "connected" });
  });

  test("needs a privilege, and the error names it", async () => {
    await using reader = await started.connect({ username: "readonly@vsphere.local" });
    const enabling = reader.enableChangeTracking(started.lab.vm("plain").moref);
    await assert.rejects(enabling, (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.code, "vsphere-permission");
      assert.match(error.message, /VirtualMachine\.Config\.ChangeTracking/);
      return true;
    });
  });
});

test("the free hypervisor's licence is seen", async () => {
  assert.deepEqual(await started.client.readLicenseEditions(), ["esx.enterprisePlus.cpuPackage"]);
  started.lab.faults.add({ name: "freeLicense" });
  assert.deepEqual(await started.client.readLicenseEditions(), ["esxBasic"]);
  started.lab.faults.clear("freeLicense");
});

test("missing privileges are listed in the order asked", async () => {
  const names = ["VirtualMachine.State.RemoveSnapshot", "VirtualMachine.State.CreateSnapshot"];
  const { moref } = started.lab.vm("plain");
  assert.deepEqual(await started.client.missingPrivileges(moref, names), []);
  await using reader = await started.connect({ username: "readonly@vsphere.local" });
  assert.deepEqual(await reader.missingPrivileges(moref, names), names);
});
