/** Faults that pass by themselves: they are waited out, and told from those that do not pass. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MigratekitError } from "../../src/errors.ts";
import type { VsphereConnectOptions } from "../../src/vmware/vmware.ts";
import type { FaultRequest } from "../lab/vcenter/fault-board.ts";
import { until } from "../until.ts";
import { makeCertificates } from "./certificates.ts";
import { type LabClient, startLabClient } from "./lab-client.ts";
import { properties, startScripted } from "./scripted-endpoint.ts";

const capacityBytes = 8 << 20;
const vms = [
  {
    name: "vm",
    tools: "running" as const,
    powerState: "poweredOn" as const,
    disks: [{ capacityBytes, fill: { seed: 1, dataRatio: 0.5 } }],
  },
];
const spec = { name: "migratekit-run-1", description: "made by a test", quiesce: false };
const texts = {
  TaskInProgress: "Another task is already in progress.",
  ConcurrentAccess: "Cannot complete operation due to concurrent modification.",
  InvalidState: "The operation is not allowed in the current state.",
  HostCommunication: "An error occurred while communicating with the remote host.",
  HostNotConnected: "Unable to communicate with the remote host, since it is disconnected.",
  SystemError: "A general system error occurred: Operation was canceled",
  RequestCanceled: "The task was canceled by a user.",
};
type Passing = keyof typeof texts;
const passing = Object.keys(texts) as Passing[];
const faultOf = (type: Passing) => ({ type, text: texts[type] });

/** A client that writes down what it is told to be waiting for. */
async function start(changes: Partial<VsphereConnectOptions> = {}) {
  const waits: (string | undefined)[] = [];
  const onWaiting = (what: string | undefined) => void waits.push(what);
  const started = await startLabClient(
    { vms, taskMs: 4, snapshotMs: 4 },
    { onWaiting, ...changes },
  );
  return { ...started, waits, vm: started.lab.vm("vm") };
}

const countOf = ({ lab }: LabClient, method: string) =>
  lab.log.methods().filter((called) => called === method).length;

describe("a question that meets a fault which passes", { concurrency: 4 }, () => {
  async function changesOf({ client, vm }: Awaited<ReturnType<typeof start>>, changeId = "*") {
    const { moref } = await client.createSnapshot(vm.moref, spec);
    const query = {
      ...{ vmMoref: vm.moref, snapshotMoref: moref, deviceKey: 2000 },
      ...{ changeId, capacityBytes },
    };
    return () => Array.fromAsync(client.changedAreas(query));
  }

  for (const type of passing)
    test(`is asked again after ${type}, and the answer is the same`, async () => {
      await using started = await start();
      await started.client.enableChangeTracking(started.vm.moref);
      const ask = await changesOf(started);
      const expected = await ask();
      const method = "QueryChangedDiskAreas";
      started.lab.log.clear();
      started.lab.faults.add({ name: "callFault", method, count: 1, fault: faultOf(type) });
      assert.deepEqual(await ask(), expected);
      assert.equal(countOf(started, method), 2);
      assert.match(started.waits[0] ?? "", new RegExp(`^waiting for .*${type}`));
      assert.equal(started.waits.at(-1), undefined);
    });

  test("in the middle of a listing goes on at the page where it was", async () => {
    const empty = [{ name: "vm", changeTracking: true, disks: [{ capacityBytes }] }];
    await using started = await startLabClient({ vms: empty, areasPerPage: 2 });
    const { lab } = started;
    const vm = lab.vm("vm");
    await vm.randomWrites(2000, { seed: 4, writes: 40, maximumBytes: 4096 });
    const ask = await changesOf({ ...started, waits: [], vm });
    const expected = await ask();
    assert.ok(expected.length > 4, `${expected.length} pages`);
    const fault = faultOf("HostCommunication");
    lab.faults.add({
      name: "callFault",
      method: "QueryChangedDiskAreas",
      skip: 2,
      count: 1,
      fault,
    });
    assert.deepEqual(await ask(), expected);
  });

  for (const type of ["HostCommunication", "TaskInProgress"] as const)
    test(`ends with an error of its own when ${type} does not pass in the time given`, async () => {
      await using started = await start({ busyMs: 300 });
      await started.client.enableChangeTracking(started.vm.moref);
      const ask = await changesOf(started);
      const fault = faultOf(type);
      started.lab.faults.add({ name: "callFault", method: "QueryChangedDiskAreas", fault });
      await assert.rejects(ask(), (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, "vsphere-busy");
        assert.match(error.message, new RegExp(`${type}.*tried again for 0:0.*did not pass`));
        const remedy = type === "TaskInProgress" ? /backup.*--busy-timeout/ : /host is connected/;
        assert.match(error.remedy, remedy);
        return true;
      });
    });

  for (const [type, code] of [
    ["NotSupported", "changed-areas-unavailable"],
    ["NotFound", "changed-areas-unavailable"],
    ["GenericVmConfigFault", "vsphere-fault"],
  ] as const)
    test(`${type} is not waited out: it ends as ${code}`, async () => {
      await using started = await start();
      await started.client.enableChangeTracking(started.vm.moref);
      const { moref } = await started.client.createSnapshot(started.vm.moref, spec);
      const [disk] = await started.client.readSnapshotDisks(moref);
      const query = {
        ...{ vmMoref: started.vm.moref, snapshotMoref: moref, deviceKey: 2000 },
        ...{ changeId: disk!.changeId!, capacityBytes },
      };
      const fault = { type, text: "No." };
      started.lab.faults.add({ name: "callFault", method: "QueryChangedDiskAreas", fault });
      await assert.rejects(Array.fromAsync(started.client.changedAreas(query)), { code });
      assert.deepEqual(started.waits, []);
    });

  test("a fault that nobody knows leaves the list of allocated areas out, and no more", async () => {
    await using started = await start();
    await started.client.enableChangeTracking(started.vm.moref);
    const ask = await changesOf(started);
    const fault = { type: "GenericVmConfigFault", text: "No." };
    started.lab.faults.add({ name: "callFault", method: "QueryChangedDiskAreas", fault });
    await assert.rejects(ask(), { code: "changed-areas-unavailable" });
  });

  for (const method of ["RetrievePropertiesEx", "FindByInventoryPath", "HasPrivilegeOnEntities"])
    test(`${method} is asked again as well`, async () => {
      await using started = await start();
      const { client, lab, vm } = started;
      const fault = faultOf("HostNotConnected");
      lab.faults.add({ name: "callFault", method, count: 1, fault });
      assert.equal(await client.findVm(vm.path), vm.moref);
      assert.equal((await client.readVm(vm.moref)).name, "vm");
      assert.deepEqual(await client.missingPrivileges(vm.moref, ["System.View"]), []);
      assert.equal(lab.faults.list().length, 0, "the fault has struck");
    });

  test("a login after a lost session is tried again as well", async () => {
    await using started = await start();
    const { client, lab, vm } = started;
    const fault = faultOf("SystemError");
    lab.faults.add({ name: "callFault", method: "Login", count: 1, fault });
    lab.faults.add({ name: "expireSessions", count: 1 });
    assert.equal(await client.readPowerState(vm.moref), "poweredOn");
    assert.equal(lab.faults.list().length, 0, "both faults have struck");
  });

  test("a property that cannot be read just now is asked for again", async () => {
    using made = makeCertificates();
    const missing =
      '<returnval><objects><obj type="VirtualMachine">vm-1</obj><missingSet><path>runtime.powerState</path>' +
      '<fault><fault xsi:type="HostCommunication"/><localizedMessage>gone</localizedMessage></fault>' +
      "</missingSet></objects></returnval>";
    const there = properties("VirtualMachine", "vm-1", {
      "runtime.powerState": 'xsi:type="xsd:string">poweredOn',
    });
    let asked = 0;
    await using endpoint = await startScripted(made.selfSigned, ({ operation }) =>
      operation === "RetrievePropertiesEx" ? (++asked === 1 ? missing : there) : undefined,
    );
    await using client = await endpoint.connect({ busyMs: 5_000 });
    assert.equal(await client.readPowerState("vm-1"), "poweredOn");
    assert.equal(asked, 2);
  });
});

describe("a task that another one is in the way of", { concurrency: 4 }, () => {
  type Started = Awaited<ReturnType<typeof start>>;
  const changes: [string, (started: Started) => Promise<void>][] = [
    [
      "CreateSnapshot_Task",
      async ({ client, vm }) => {
        const { moref } = await client.createSnapshot(vm.moref, spec);
        assert.deepEqual(
          vm.snapshots.map((snapshot) => snapshot.moref),
          [moref],
        );
      },
    ],
    [
      "ReconfigVM_Task",
      async ({ client, vm }) => {
        await client.enableChangeTracking(vm.moref);
        assert.equal(vm.record.changeTrackingEnabled, true);
      },
    ],
    [
      "RemoveSnapshot_Task",
      async ({ client, vm }) => {
        const { moref } = await client.createSnapshot(vm.moref, spec);
        await client.removeSnapshot(moref, { vmMoref: vm.moref });
        assert.deepEqual(vm.snapshots, []);
      },
    ],
    [
      "PowerOffVM_Task",
      async ({ client, vm }) => {
        await client.powerOff(vm.moref);
        assert.equal(vm.record.powerState, "poweredOff");
      },
    ],
    [
      "ShutdownGuest",
      async ({ client, vm }) => {
        await client.shutdownGuest(vm.moref);
        await until("the guest is off", () => vm.record.powerState === "poweredOff");
      },
    ],
  ];
  const types = [
    "TaskInProgress",
    "ConcurrentAccess",
    "InvalidState",
    "HostCommunication",
  ] as const;
  for (const [method, change] of changes)
    for (const name of ["callFault", "taskFault"] as const) {
      if (name === "taskFault" && !method.endsWith("_Task")) continue;
      for (const type of types)
        test(`${method} is done once ${type} has passed, as a ${name}`, async () => {
          await using started = await start();
          const fault = faultOf(type);
          started.lab.faults.add({ name, method, count: 2, fault });
          await change(started);
          assert.equal(countOf(started, method), 3);
          assert.match(started.waits[0] ?? "", new RegExp(`^waiting for .*${type}`));
          assert.equal(started.waits.at(-1), undefined);
        });
    }

  test("names the other task: what it does, to which machine, for whom and how far it is", async () => {
    await using started = await start();
    const { client, lab, vm, waits } = started;
    lab.startOtherTask(vm, "RelocateVM", 2500);
    await until("the other task runs", () => vm.recentTasks.length > 0);
    const fault = faultOf("TaskInProgress");
    lab.faults.add({ name: "callFault", method: "CreateSnapshot_Task", for_ms: 700, fault });
    await client.createSnapshot(vm.moref, spec);
    const named =
      /^waiting for another task: VirtualMachine\.relocateVM of "vm" by VSPHERE\.LOCAL\\backup, \d+ %$/;
    assert.match(waits[0] ?? "", named);
    assert.match(started.warnings.join("\n"), /waiting for another task: VirtualMachine\.relocate/);
  });

  test("that stays in the way is named in the error, whose remedy is about it", async () => {
    await using started = await start({ busyMs: 700 });
    const { client, lab, vm } = started;
    lab.startOtherTask(vm, "RelocateVM", 4000);
    const fault = faultOf("TaskInProgress");
    lab.faults.add({ name: "callFault", method: "CreateSnapshot_Task", fault });
    await assert.rejects(client.createSnapshot(vm.moref, spec), (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.code, "vsphere-busy");
      assert.match(
        error.message,
        /cannot create a snapshot.*The other task: VirtualMachine\.relocate/,
      );
      assert.match(error.remedy, /a backup, a storage motion, a consolidation/);
      assert.doesNotMatch(error.remedy, /datastore|hardware version/);
      return true;
    });
  });

  test("is not repeated where it took effect although it failed", async () => {
    await using started = await start();
    const { client, lab, vm } = started;
    const fault = faultOf("HostCommunication");
    lab.faults.add({ name: "taskFault", method: "CreateSnapshot_Task", count: 1, fault });
    // What the host has made of it: the first try does not look for it, the second has to.
    const { moref } = await vm.createSnapshot({ ...spec, quiesced: false });
    assert.equal((await client.createSnapshot(vm.moref, spec)).moref, moref);
    assert.equal(vm.snapshots.length, 1);
    assert.equal(countOf(started, "CreateSnapshot_Task"), 1);
  });

  test("that ends with SystemError is tried twice more, and no more", async () => {
    await using started = await start();
    const { client, lab, vm } = started;
    const fault = faultOf("SystemError");
    const method = "CreateSnapshot_Task";
    lab.faults.add({ name: "taskFault", method, count: 2, fault });
    await client.createSnapshot(vm.moref, spec);
    lab.faults.add({ name: "taskFault", method, fault });
    lab.log.clear();
    await assert.rejects(client.createSnapshot(vm.moref, { ...spec, name: "second" }), {
      code: "snapshot-failed",
    });
    assert.equal(countOf(started, method), 3);
  });

  test("that somebody cancelled is not begun again", async () => {
    await using started = await start();
    const fault: FaultRequest["fault"] = faultOf("RequestCanceled");
    started.lab.faults.add({ name: "taskFault", method: "CreateSnapshot_Task", fault });
    await assert.rejects(started.client.createSnapshot(started.vm.moref, spec), {
      code: "snapshot-failed",
    });
    assert.deepEqual(started.waits, []);
  });

  test("a quiesced snapshot that fails for quiescing is made without, at once", async () => {
    await using started = await start();
    const fault = { type: "InvalidState", text: "The guest cannot be quiesced in this state." };
    started.lab.faults.add({ name: "taskFault", method: "CreateSnapshot_Task", count: 1, fault });
    const made = await started.client.createSnapshot(started.vm.moref, { ...spec, quiesce: true });
    assert.equal(made.quiesced, false);
    assert.deepEqual(started.waits, []);
  });

  test("an abort ends the waiting at once, with its own reason, and leaves nothing behind", async () => {
    await using started = await start();
    const { client, lab, vm, waits } = started;
    lab.startOtherTask(vm, "RelocateVM", 60_000);
    const fault = faultOf("TaskInProgress");
    lab.faults.add({ name: "callFault", method: "CreateSnapshot_Task", fault });
    const controller = new AbortController();
    const reason = new Error("stopped by the operator");
    const { signal } = controller;
    const creating = assert.rejects(client.createSnapshot(vm.moref, spec, { signal }), reason);
    await until("it waits", () => waits.length > 0);
    controller.abort(reason);
    const abortedMs = performance.now();
    await creating;
    assert.ok(performance.now() - abortedMs < 10_000, "it did not wait for the other task");
    assert.deepEqual(vm.snapshots, []);
  });
});
