import assert from "node:assert/strict";
import { test } from "node:test";
import { faultDescriptions } from "../lab/vcenter/fault-board.ts";
import { RawVimClient } from "./raw-vim-client.ts";
import { startTestLab } from "./vcenter-lab.ts";

const capacityBytes = 8 * 1_048_576;
const vms = [
  {
    name: "MyVM",
    changeTracking: true,
    disks: [{ capacityBytes, fill: { seed: 1, dataRatio: 0.3 } }],
  },
];
const time = ["CurrentTime", "ServiceInstance:ServiceInstance"] as const;

test("a fault strikes where and as often as it was set to", async () => {
  await using lab = await startTestLab({ vms });
  const { faults } = lab.vcenter;
  assert.throws(() => faults.add({ name: "noSuchFault" as never }), /No such fault/);
  faults.add({ name: "http503Html", method: "CurrentTime", skip: 1, count: 2 });
  const statuses: number[] = [];
  for (let call = 0; call < 4; call += 1) statuses.push((await lab.client.send(...time)).status);
  assert.deepEqual(statuses, [200, 503, 503, 200]);
  assert.deepEqual(faults.list(), []);
  faults.add({ name: "fileFault", vm: "another" });
  assert.equal(faults.take("fileFault", { vm: "MyVM" }), undefined);
  faults.clear();
  assert.ok(Object.keys(faultDescriptions).length > 20);
});

test("the transport can answer with HTML, nothing, half a document, or break", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const once = (name: "http503Html" | "emptyAnswer" | "truncatedAnswer" | "cutConnection") =>
    vcenter.faults.add({ name, count: 1 });
  once("http503Html");
  assert.match((await client.send(...time)).body, /^<html>/);
  once("emptyAnswer");
  const empty = await client.send(...time);
  assert.deepEqual([empty.status, empty.body], [200, ""]);
  once("truncatedAnswer");
  const half = await client.send(...time);
  assert.equal(half.status, 200);
  assert.doesNotMatch(half.body, /<\/soapenv:Envelope>/);
  once("cutConnection");
  await assert.rejects(client.send(...time));
  assert.equal((await client.send(...time)).status, 200);
});

test("connections are refused for a while, and sessions are gone afterwards", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  vcenter.faults.add({ name: "refuseConnections", value: 150 });
  await assert.rejects(client.send(...time), /ECONNREFUSED|ECONNRESET|socket hang up/);
  for (;;) {
    const answer = await client.send(...time).catch(() => undefined);
    if (!answer) continue;
    assert.match(answer.body, /NotAuthenticated/);
    break;
  }
});

test("sessions end at once, after a number of calls, or when idle", async () => {
  await using lab = await startTestLab({ vms, sessionIdleMs: 60_000 });
  const { vcenter } = lab;
  const client = new RawVimClient(vcenter.endpoint);
  const login = async () => {
    client.cookie = undefined;
    await client.login(vcenter.username, vcenter.password);
  };
  await login();
  vcenter.faults.add({ name: "expireSessions", count: 1 });
  await assert.rejects(client.call(...time), /NotAuthenticated/);
  await login();
  vcenter.faults.add({ name: "notAuthenticatedAfter", value: 2 });
  await client.call(...time);
  await client.call(...time);
  await assert.rejects(client.call(...time), /NotAuthenticated/);
  await login();
  vcenter.sessions.all()[0]!.lastActiveTime = new Date(Date.now() - 61_000);
  await assert.rejects(client.call(...time), /NotAuthenticated/);
});

test("any call, and any task, can be made to fail with any fault, by number or for a time", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM").moref;
  const busy = { type: "TaskInProgress", text: "Another task is already in progress." };
  vcenter.faults.add({
    name: "callFault",
    method: "CreateSnapshot_Task",
    skip: 1,
    count: 1,
    fault: busy,
  });
  const first = await client.createSnapshot(vm);
  await assert.rejects(client.createSnapshot(vm), /TaskInProgress/);
  const second = await client.createSnapshot(vm);
  assert.notEqual(first, second);
  const gone = { type: "HostNotConnected", text: "It is disconnected." };
  vcenter.faults.add({ name: "callFault", method: "CurrentTime", for_ms: 150, fault: gone });
  const answer = await client.send(...time);
  assert.equal(answer.status, 500);
  assert.match(answer.body, /xsi:type="HostNotConnected"/);
  assert.match((await client.send(...time)).body, /HostNotConnected/);
  while ((await client.send(...time)).status !== 200);
  vcenter.faults.add({ name: "taskFault", method: "CreateSnapshot_Task", count: 1, fault: busy });
  const count = vcenter.vm("MyVM").snapshots.length;
  await assert.rejects(client.createSnapshot(vm), /TaskInProgress/);
  assert.equal(vcenter.vm("MyVM").snapshots.length, count);
});

test("change queries can fail, gape, be empty or go nowhere", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM").moref;
  const snapshot = await client.createSnapshot(vm);
  const query = (changeId = "*") => client.changedPage(vm, snapshot, 2000, 0, changeId);
  const once = (name: Parameters<typeof vcenter.faults.add>[0]["name"]) =>
    vcenter.faults.add({ name, vm: "MyVM", key: 2000, count: 1 });
  const whole = await query();
  once("fileFault");
  await assert.rejects(query(), /FileFault/);
  once("starRefused");
  await assert.rejects(query(), /FileFault/);
  once("starWholeDisk");
  assert.deepEqual((await query()).areas, [{ offset: 0, length: capacityBytes }]);
  once("lengthZeroPage");
  assert.deepEqual(await query(), { startOffset: 0, length: 0, areas: [] });
  once("emptyPage");
  const first = whole.areas[0]!;
  if (first.offset === 0) assert.deepEqual((await query()).areas, [first]);
  const unchangedFrom = first.offset === 0 ? first.length : 0;
  const empty = await client.changedPage(vm, snapshot, 2000, unchangedFrom, "*");
  assert.deepEqual([empty.areas, empty.length > 0], [[], true]);
  once("pageGap");
  assert.ok((await query()).startOffset > 0);
  assert.deepEqual(await query(), whole);
});

test("an empty page skips nothing that changed", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM").moref;
  const snapshot = await client.createSnapshot(vm);
  const args = [vm, snapshot, 2000, "*", capacityBytes] as const;
  const { areas } = await client.changedAreas(...args);
  vcenter.faults.add({ name: "emptyPage", count: 1 });
  const again = await client.changedAreas(...args);
  assert.ok(again.pages > 1);
  assert.deepEqual(again.areas, areas);
});

test("snapshots fail, cannot quiesce, get no change ID or a new history", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  vcenter.faults.add({ name: "snapshotFails", value: "No space", count: 1 });
  await assert.rejects(client.createSnapshot(vm.moref), /GenericVmConfigFault: No space/);
  vcenter.faults.add({ name: "quiesceFault", value: "FilesystemQuiesceFault", count: 1 });
  await assert.rejects(client.createSnapshot(vm.moref, true), /FilesystemQuiesceFault/);
  assert.equal(vm.snapshots.length, 0);
  const idOf = async (snapshot: string) =>
    (await client.changeIds(`VirtualMachineSnapshot:${snapshot}`)).get(2000);
  const first = await idOf(await client.createSnapshot(vm.moref, true));
  assert.equal(vm.snapshots[0]!.quiesced, true);
  vcenter.faults.add({ name: "cbtReset", count: 1 });
  const second = await idOf(await client.createSnapshot(vm.moref));
  assert.notEqual(second!.split("/")[0], first!.split("/")[0]);
  vcenter.faults.add({ name: "cbtStaysOff" });
  assert.equal(await idOf(await client.createSnapshot(vm.moref)), undefined);
});

test("change tracking can be unsupported", async () => {
  await using lab = await startTestLab({
    vms: [{ name: "old", hardwareVersion: 4, disks: [{ capacityBytes: 512 }] }, ...vms],
  });
  const { client, vcenter } = lab;
  vcenter.faults.add({ name: "cbtNotSupported", vm: "MyVM" });
  for (const name of ["old", "MyVM"]) {
    const vm = vcenter.vm(name).moref;
    const path = "capability.changeTrackingSupported";
    assert.equal((await client.property(`VirtualMachine:${vm}`, path))?.text, "false");
    await assert.rejects(client.setChangeTracking(vm, true), /NotSupported/);
  }
});

test("a snapshot's task takes its time, shows progress and may be cancelled before the freeze", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  vcenter.faults.add({ name: "slowSnapshot", value: 30_000, count: 1 });
  const inner = "<name>slow</name><memory>false</memory><quiesce>false</quiesce>";
  const started = await client.call("CreateSnapshot_Task", `VirtualMachine:${vm.moref}`, inner);
  const task = `Task:${started[0]!.text}`;
  assert.equal((await client.property(task, "info.state"))?.text, "running");
  const seen = new Set<number>();
  while (seen.size < 3) seen.add(Number((await client.property(task, "info.progress"))!.text));
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [...seen],
  );
  await client.call("CancelTask", task);
  await assert.rejects(client.finishTask(started), /RequestCanceled/);
  assert.deepEqual(vm.snapshots, []);
});

test("a task can vanish although its work is done", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  vcenter.faults.add({ name: "vanishedTask", method: "RemoveSnapshot_Task", count: 1 });
  const vm = vcenter.vm("MyVM");
  const snapshot = await client.createSnapshot(vm.moref);
  await assert.rejects(client.removeSnapshot(snapshot), /ManagedObjectNotFound/);
  assert.deepEqual(vm.snapshots, []);
});

test("a removal can fail, or leave disks to consolidate", async () => {
  await using lab = await startTestLab({ vms });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  const snapshot = await client.createSnapshot(vm.moref);
  vcenter.faults.add({ name: "removeFails", count: 1 });
  await assert.rejects(client.removeSnapshot(snapshot), /GenericVmConfigFault/);
  vcenter.faults.add({ name: "consolidationNeeded", count: 1 });
  await client.removeSnapshot(snapshot);
  const needed = () => client.property(`VirtualMachine:${vm.moref}`, "runtime.consolidationNeeded");
  assert.equal((await needed())?.text, "true");
  await client.finishTask(
    await client.call("ConsolidateVMDisks_Task", `VirtualMachine:${vm.moref}`),
  );
  assert.equal((await needed())?.text, "false");
});

test("a guest shuts down, ignores the request, or has no tools to hear it", async () => {
  await using lab = await startTestLab({
    vms: [...vms, { name: "deaf", tools: "notInstalled", disks: [{ capacityBytes: 512 }] }],
  });
  const { client, vcenter } = lab;
  const vm = vcenter.vm("MyVM");
  const self = `VirtualMachine:${vm.moref}`;
  vcenter.faults.add({ name: "guestIgnoresShutdown", count: 1 });
  await client.call("ShutdownGuest", self);
  assert.deepEqual(vcenter.faults.list(), []);
  vcenter.faults.add({ name: "slowGuestShutdown", value: 30, count: 1 });
  await client.call("ShutdownGuest", self);
  while ((await client.property(self, "runtime.powerState"))?.text !== "poweredOff") {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await assert.rejects(client.call("ShutdownGuest", self), /InvalidPowerState/);
  await client.finishTask(await client.call("PowerOnVM_Task", self));
  await client.finishTask(await client.call("PowerOffVM_Task", self));
  const deaf = `VirtualMachine:${vcenter.vm("deaf").moref}`;
  await assert.rejects(client.call("ShutdownGuest", deaf), /ToolsUnavailable/);
});
