import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import type { LoggedCall } from "../lab/vcenter/call-log.ts";
import type { FaultRequest } from "../lab/vcenter/fault-board.ts";
import type { FrozenCopy } from "../lab/vcenter/frozen-copies.ts";
import type { GuestWrite } from "../lab/vcenter/guest.ts";
import type { describeLab } from "../lab/vcenter/lab-state.ts";
import { get, post, startTestLab } from "./vcenter-lab.ts";

type Written = { written: GuestWrite[] };
type Faults = { faults: FaultRequest[] };
type Log = { calls: LoggedCall[] };

const capacityBytes = 4 * 1_048_576 + 512;
const vms = [{ name: "MyVM", folder: "Folder", changeTracking: true, disks: [{ capacityBytes }] }];

test("a script writes as the guest, takes a snapshot and learns what changed since", async () => {
  await using lab = await startTestLab({ vms });
  const { vcenter } = lab;
  const { moref } = await post<{ moref: string }>(vcenter, "/vm/snapshot", {
    vm: "MyVM",
    name: "base",
  });
  const [frozen] = (await get<{ frozen: FrozenCopy[] }>(vcenter, "/frozen?vm=MyVM")).frozen;
  assert.equal(frozen!.snapshot, moref);
  const { changeId, imagePath } = frozen!.disks[0]!;
  const at = { vm: "/Datacenter/vm/Folder/MyVM", key: 2000 };
  await post(vcenter, "/guest/write", { ...at, offset: 65_536, length: 1024, seed: 3 });
  await post(vcenter, "/guest/write", { ...at, offset: 262_144, length: 524_288, zero: true });
  const { written } = await post<Written>(vcenter, "/guest/random", { ...at, seed: 1, writes: 1 });
  assert.deepEqual(written, [{ key: 2000, offset: capacityBytes - 512, length: 512, zero: false }]);
  const query = `vm=MyVM&key=2000&since=${encodeURIComponent(changeId!)}`;
  const truth = await get<{ areas: object[]; bytes: number }>(vcenter, `/truth?${query}`);
  assert.deepEqual(truth.areas, [
    { offset: 65_536, length: 65_536 },
    { offset: 262_144, length: 524_288 },
    { offset: capacityBytes - 512, length: 512 },
  ]);
  assert.equal(truth.bytes, 65_536 + 524_288 + 512);
  const live = await readFile(vcenter.vm("MyVM").disk(2000).imagePath);
  assert.ok(!live.subarray(65_536, 66_560).equals(Buffer.alloc(1024)));
  assert.ok((await readFile(imagePath)).equals(Buffer.alloc(capacityBytes)));
});

test("a script starts and stops a guest that goes on writing", async () => {
  await using lab = await startTestLab({ vms });
  const { vcenter } = lab;
  await post(vcenter, "/guest/start", { vm: "MyVM", seed: 9, intervalMs: 0, maximumBytes: 8192 });
  while (vcenter.vm("MyVM").guest.written.length < 3) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { written } = await post<Written>(vcenter, "/guest/stop", { vm: "MyVM" });
  assert.ok(written.length >= 3);
  const live = await readFile(vcenter.vm("MyVM").disk(2000).imagePath);
  const again = await post<Written>(vcenter, "/guest/stop", { vm: "MyVM" });
  assert.equal(again.written.length, written.length);
  assert.ok((await readFile(vcenter.vm("MyVM").disk(2000).imagePath)).equals(live));
});

test("a script changes machines as an administrator would", async () => {
  await using lab = await startTestLab({ vms, hosts: ["esx1", "esx2"] });
  const { vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  const added = await post(vcenter, "/vm/addDisk", { vm: "MyVM", disk: { capacityBytes: 1024 } });
  assert.deepEqual(added, { key: 2001 });
  await post(vcenter, "/vm/grow", { vm: "MyVM", key: 2001, capacityBytes: 2048 });
  assert.equal(vm.disk(2001).record.capacityBytes, 2048);
  await post(vcenter, "/vm/rekeyDisk", { vm: "MyVM", key: 2001, newKey: 2017 });
  const { bus, unit } = vm.disk(2017).record;
  assert.deepEqual([bus, unit], [1, 1]);
  assert.deepEqual(
    [...(await lab.client.changeIds(`VirtualMachine:${vm.moref}`)).keys()],
    [2000, 2017],
  );
  await post(vcenter, "/vm/removeDisk", { vm: "MyVM", key: 2017 });
  assert.throws(() => vm.disk(2017), /no disk/);
  await post(vcenter, "/vm/move", { vm: "MyVM", host: "esx2", datastore: "datastore2" });
  const host = await lab.client.property(`VirtualMachine:${vm.moref}`, "runtime.host");
  assert.equal((await lab.client.property(`HostSystem:${host!.text}`, "name"))?.text, "esx2");
  assert.equal(vm.disk(2000).record.fileName, "[datastore2] MyVM/MyVM.vmdk");
  await vm.write(2000, 0, Buffer.alloc(512, 7));
  const clone = await post<{ path: string }>(vcenter, "/vm/clone", { vm: "MyVM", name: "copy" });
  assert.equal(clone.path, "/Datacenter/vm/Folder/copy");
  assert.notEqual(vcenter.vm("copy").record.instanceUuid, vm.record.instanceUuid);
  const [original, copied] = await Promise.all(
    [vm, vcenter.vm("copy")].map((machine) => readFile(machine.disk(2000).imagePath)),
  );
  assert.ok(original!.equals(copied!));
  await post(vcenter, "/vm/set", { vm: "copy", tools: "notInstalled", hardwareVersion: 4 });
  await post(vcenter, "/vm/power", { vm: "copy", state: "poweredOff" });
  const spec = { name: "new", disks: [{ capacityBytes: 512 }] };
  await post(vcenter, "/vm/add", { spec });
  const { vms: listed } = await get<ReturnType<typeof describeLab>>(vcenter, "/state");
  assert.deepEqual(
    listed.map((each) => [each.name, each.powerState]),
    [
      ["MyVM", "poweredOn"],
      ["copy", "poweredOff"],
      ["new", "poweredOn"],
    ],
  );
});

test("a script sets faults, restarts the vCenter and reads the log, which holds no password", async () => {
  await using lab = await startTestLab({ vms });
  const { vcenter } = lab;
  await post(vcenter, "/faults", { name: "snapshotFails", vm: "MyVM", count: 2 });
  assert.equal((await get<Faults>(vcenter, "/faults")).faults[0]?.name, "snapshotFails");
  const vm = vcenter.vm("MyVM").moref;
  await assert.rejects(lab.client.createSnapshot(vm), /GenericVmConfigFault/);
  await post(vcenter, "/faults/clear", {});
  assert.deepEqual((await get<Faults>(vcenter, "/faults")).faults, []);
  const log = await get<Log>(vcenter, "/log");
  const first = log.calls[0]!;
  assert.deepEqual(
    [first.method, (first.parameters as { password: string }).password],
    ["Login", "***"],
  );
  assert.ok(!JSON.stringify(log).includes(vcenter.password));
  assert.deepEqual(
    vcenter.log.changes().map((call) => [call.method, call.outcome]),
    [["CreateSnapshot_Task", "ok"]],
  );
  const after = log.calls.at(-1)!.number;
  assert.deepEqual((await get<Log>(vcenter, `/log?after=${after}`)).calls, []);
  await post(vcenter, "/restart", { ms: 10 });
  await post(vcenter, "/sessions/expire", {});
});

test("bad requests are told what is wrong with them", async () => {
  await using lab = await startTestLab({ vms });
  const send = async (path: string, body: string) => {
    const response = await fetch(`${lab.vcenter.controlUrl}${path}`, { method: "POST", body });
    return [response.status, ((await response.json()) as { error: string }).error];
  };
  assert.deepEqual(await send("/guest/write", "{}"), [400, "The request needs length"]);
  assert.deepEqual(await send("/vm/grow", '{"vm":"none"}'), [400, "The lab has no VM none"]);
  assert.deepEqual(await send("/faults", '{"name":"x"}'), [400, "No such fault: x"]);
  assert.deepEqual(await send("/faults", "[]"), [400, "The body must be a JSON object"]);
  assert.deepEqual(await send("/nowhere", "{}"), [404, "No such route"]);
});
