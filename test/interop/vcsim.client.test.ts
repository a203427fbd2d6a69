/** Our vSphere client against a server that none of us wrote: govmomi's simulator. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import { MigratekitError } from "../../src/errors.ts";
import { VsphereClient } from "../../src/vmware/vmware.ts";
import { startVcsim, type Vcsim } from "./vcsim.ts";

const logger = pino({ level: "silent" });

function connect(
  server: Vcsim,
  changes: Partial<Parameters<typeof VsphereClient.connect>[0]> = {},
) {
  const { host, port, username, password, sha1 } = server;
  return VsphereClient.connect({
    host,
    port,
    username,
    password,
    trust: { thumbprint: sha1 },
    logger,
    outageMs: 5_000,
    ...changes,
  });
}

describe("the client against vcsim as a vCenter", () => {
  let server: Vcsim;
  let client: VsphereClient;
  before(async () => {
    server = await startVcsim();
    client = await connect(server);
  });
  after(async () => {
    await client?.close();
    await server?.[Symbol.asyncDispose]();
  });

  test("logs in and reports the server and its certificate", () => {
    assert.equal(client.about.apiType, "VirtualCenter");
    assert.match(client.about.version, /^\d+\.\d+/);
    assert.deepEqual(client.certificate, {
      sha1: server.sha1,
      sha256: server.sha256,
      trust: "thumbprint",
    });
  });

  test("reports a wrong password as such, without the password", async () => {
    await assert.rejects(connect(server, { password: "Wr0ng-Secret" }), (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.code, "vsphere-login");
      assert.doesNotMatch(JSON.stringify(error) + error.message + error.stack, /Wr0ng-Secret/);
      return true;
    });
  });

  test("finds a machine by its path, with or without the leading slash", async () => {
    const moref = await client.findVm("/DC0/vm/DC0_H0_VM0");
    assert.match(moref, /^vm-\d+$/);
    assert.equal(await client.findVm("DC0/vm/DC0_H0_VM0"), moref);
  });

  test("lists near matches for a path that does not exist", async () => {
    await assert.rejects(client.findVm("/DC0/vm/DC0_H0_VM9"), (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.code, "vm-not-found");
      assert.match(error.message, /"\/DC0\/vm\/DC0_H0_VM0"/);
      assert.match(error.message, /"\/DC0\/vm\/DC0_H0_VM1"/);
      return true;
    });
  });

  test("does not take a folder for a machine", async () => {
    await assert.rejects(client.findVm("/DC0/vm"), { code: "vm-not-found" });
  });

  test("reads a machine's properties and disks", async () => {
    const vm = await client.readVm(await client.findVm("/DC0/vm/DC0_H0_VM0"));
    assert.equal(vm.name, "DC0_H0_VM0");
    assert.equal(vm.powerState, "poweredOn");
    assert.match(vm.instanceUuid, /^[0-9a-f-]{36}$/);
    assert.ok(vm.hardwareVersion >= 7);
    assert.equal(vm.host.name, "DC0_H0");
    assert.deepEqual(vm.snapshots, []);
    assert.equal(vm.disks.length, 1);
    const [disk] = vm.disks;
    assert.ok(disk);
    assert.equal(disk.backing, "flat");
    assert.equal(disk.diskMode, "persistent");
    assert.ok(disk.capacityBytes > 0 && disk.capacityBytes % 512 === 0);
    assert.match(disk.fileName, /^\[LocalDS_0\] .*\.vmdk$/);
    assert.equal(disk.datastore, "LocalDS_0");
  });

  test("reads a machine's hardware, and the name of its card's distributed port group", async () => {
    const { hardware } = await client.readVm(await client.findVm("/DC0/vm/DC0_H0_VM0"));
    const { nics, ...rest } = hardware;
    assert.deepEqual(rest, {
      name: "DC0_H0_VM0",
      firmware: "bios",
      secureBoot: false,
      cpus: 1,
      memoryMiB: 32,
      guestId: "otherGuest",
    });
    assert.equal(nics.length, 1);
    assert.match(nics[0]!.mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    assert.equal(nics[0]!.network, "DC0_DVPG0");
  });

  test("rejects a moref that does not exist with the fault's name", async () => {
    await assert.rejects(client.readVm("vm-99999"), (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.context.fault, "ManagedObjectNotFound");
      return true;
    });
  });

  test("turns change tracking on", async () => {
    const moref = await client.findVm("/DC0/vm/DC0_H0_VM0");
    await client.enableChangeTracking(moref);
    assert.equal((await client.readVm(moref)).changeTrackingEnabled, true);
  });

  test("creates a snapshot, shows it in the tree, reads its disks and removes it alone", async () => {
    const moref = await client.findVm("/DC0/vm/DC0_H0_VM1");
    const spec = { name: "migratekit <1> & 'co'", description: "línea 1\nline 2", quiesce: false };
    const kept = await client.createSnapshot(moref, { ...spec, name: "operator's own" });
    const tasks: string[] = [];
    const ours = await client.createSnapshot(moref, spec, { onTask: (task) => tasks.push(task) });
    assert.equal(ours.quiesced, false);
    assert.equal(tasks.length, 1);

    const [root] = await client.snapshotTree(moref);
    assert.equal(root?.moref, kept.moref);
    assert.deepEqual(
      root?.children.map(({ moref, name, description }) => ({ moref, name, description })),
      [{ moref: ours.moref, name: spec.name, description: spec.description }],
    );
    const disks = await client.readSnapshotDisks(ours.moref);
    assert.deepEqual(
      disks.map((disk) => disk.key),
      (await client.readVm(moref)).disks.map((disk) => disk.key),
    );

    await client.removeSnapshot(ours.moref);
    assert.deepEqual(
      (await client.snapshotTree(moref)).map((node) => [node.moref, node.children.length]),
      [[kept.moref, 0]],
    );
    await client.removeSnapshot(kept.moref);
    await client.removeSnapshot(kept.moref); // already gone: nothing to complain about
    assert.deepEqual(await client.snapshotTree(moref), []);
  });

  test("powers off and reads the power state", async () => {
    const moref = await client.findVm("/DC0/vm/DC0_C0_RP0_VM0");
    assert.equal(await client.readPowerState(moref), "poweredOn");
    await client.powerOff(moref);
    assert.equal(await client.readPowerState(moref), "poweredOff");
  });

  test("asks which privileges the account lacks", async () => {
    const moref = await client.findVm("/DC0/vm/DC0_H0_VM0");
    const names = ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot"];
    assert.deepEqual(await client.missingPrivileges(moref, names), []);
  });
});

test("the client against vcsim lists what that has: hosts', pools' and vApps' machines, below folders too", async () => {
  await using server = await startVcsim("vcenter", [
    "-machines",
    "40",
    "-apps",
    "1",
    "-folders",
    "1",
  ]);
  await using client = await connect(server);
  const { signal } = new AbortController();
  const listed = async (path?: string) => {
    const { vms } = await client.openInventory(path, signal);
    return await Array.fromAsync(vms);
  };
  const vms = await listed();
  const names = vms.map(({ name }) => name).sort();
  const expected = ["DC0_C0_APP0_VM", "DC0_C0_RP0_VM", "DC0_H0_VM"].flatMap((prefix) =>
    Array.from({ length: 40 }, (_, index) => `${prefix}${index}`),
  );
  assert.deepEqual(names, expected.sort());
  assert.equal(new Set(vms.map(({ path }) => path)).size, 120);
  for (const { moref, path, facts, datastores, guestName, usedBytes } of vms) {
    assert.ok(!(facts instanceof Error), path);
    assert.equal(facts.disks.length, 1);
    assert.equal(facts.disks[0]!.controller?.kind, "pvscsi");
    assert.match(facts.host.name, /^DC0_/);
    assert.equal(datastores.length, 1);
    assert.ok(guestName && usedBytes !== undefined);
    if (/VM0$/.test(path)) assert.equal(await client.findVm(path), moref, path);
  }
  const folder = vms.find(({ name }) => name === "DC0_H0_VM0")!.path.replace(/\/[^/]*$/, "");
  const below = await listed(folder);
  assert.ok(below.length > 0);
  assert.deepEqual(
    below.map(({ path }) => path).sort(),
    vms
      .map(({ path }) => path)
      .filter((path) => path.startsWith(`${folder}/`))
      .sort(),
  );
});

test("the client against vcsim as an ESXi host finds machines with and without the datacenter", async () => {
  await using server = await startVcsim("esx");
  await using client = await connect(server, { trust: { thumbprint: server.sha256 } });
  assert.equal(client.about.apiType, "HostAgent");
  const moref = await client.findVm("/ha-datacenter/vm/ha-host_VM0");
  assert.equal(await client.findVm("/vm/ha-host_VM0"), moref);
  assert.equal(await client.findVm("ha-host_VM0"), moref);
  assert.equal((await client.readVm(moref)).name, "ha-host_VM0");
  await assert.rejects(
    client.findVm("/Datacenter/vm/ha-host_VM0"),
    /"\/ha-datacenter\/vm\/ha-host_VM0"/,
  );
});
