/** Snapshots through every way in which a task, its answer or the guest can fail. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MigratekitError } from "../../src/errors.ts";
import type { FaultRequest } from "../lab/vcenter/fault-board.ts";
import { type LabClient, startLabClient } from "./lab-client.ts";

const disks = [{ capacityBytes: 1_048_576 }];
const vms = [
  { name: "vm", disks },
  { name: "notools", tools: "notInstalled" as const, disks },
  { name: "rdm", disks: [...disks, { capacityBytes: 1_048_576, backing: "rdmPhysical" as const }] },
];
const spec = { name: "migratekit-run-1", description: "made by a test", quiesce: false };

function namesOf(started: LabClient, vm = "vm"): string[] {
  return started.lab.vm(vm).snapshots.map((snapshot) => snapshot.name);
}

function countOf(started: LabClient, method: string): number {
  return started.lab.log.methods().filter((called) => called === method).length;
}

describe("a quiesced snapshot", { concurrency: 6 }, () => {
  test("is quiesced when the guest can be", async () => {
    await using started = await startLabClient({ vms });
    const made = await started.client.createSnapshot(started.lab.vm("vm").moref, {
      ...spec,
      quiesce: true,
    });
    assert.equal(made.quiesced, true);
    assert.equal(started.lab.vm("vm").snapshot(made.moref)?.quiesced, true);
    assert.deepEqual(started.warnings, []);
  });

  for (const value of ["ApplicationQuiesceFault", "FilesystemQuiesceFault", "ToolsUnavailable"])
    test(`is made without quiescing, with a warning, after ${value}`, async () => {
      await using started = await startLabClient({ vms });
      started.lab.faults.add({ name: "quiesceFault", value });
      const made = await started.client.createSnapshot(started.lab.vm("vm").moref, {
        ...spec,
        quiesce: true,
      });
      assert.equal(made.quiesced, false);
      assert.deepEqual(namesOf(started), [spec.name]);
      assert.equal(countOf(started, "CreateSnapshot_Task"), 2);
      assert.match(started.warnings.join("\n"), new RegExp(value));
    });

  test("that a host silently made unquiesced is reported as such", async () => {
    await using started = await startLabClient({ vms });
    const { moref } = started.lab.vm("notools");
    const made = await started.client.createSnapshot(moref, { ...spec, quiesce: true });
    assert.equal(made.quiesced, false);
    assert.match(started.warnings.join("\n"), /not quiesced/);
    assert.equal(countOf(started, "CreateSnapshot_Task"), 1);
  });

  test("that fails for another reason is not tried again", async () => {
    await using started = await startLabClient({ vms });
    const making = started.client.createSnapshot(started.lab.vm("rdm").moref, {
      ...spec,
      quiesce: true,
    });
    await assert.rejects(making, (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.code, "snapshot-failed");
      assert.equal(error.context.fault, "SnapshotIncompatibleDeviceInVm");
      return true;
    });
    assert.equal(countOf(started, "CreateSnapshot_Task"), 1);
  });
});

test("a snapshot that fails unquiesced fails the call with the fault's own text", async () => {
  await using started = await startLabClient({ vms });
  started.lab.faults.add({ name: "snapshotFails", count: 1 });
  const making = started.client.createSnapshot(started.lab.vm("vm").moref, spec);
  await assert.rejects(making, { code: "snapshot-failed" });
  assert.deepEqual(namesOf(started), []);
});

test("progress is reported while a slow snapshot is made", async () => {
  await using started = await startLabClient({ vms });
  started.lab.faults.add({ name: "slowSnapshot", value: 2_000 });
  const percents: number[] = [];
  await started.client.createSnapshot(started.lab.vm("vm").moref, spec, {
    onProgress: (percent) => percents.push(percent),
  });
  assert.ok(percents.length >= 2, `seen: ${percents}`);
  assert.deepEqual(
    percents,
    percents.toSorted((a, b) => a - b),
  );
});

/** Losses between the call and its effect; afterwards there is exactly one snapshot, and we know it. */
const losses: [string, FaultRequest][] = [
  ["the task vanishes", { name: "vanishedTask", count: 1 }],
  [
    "the answer to the call is lost",
    { name: "cutConnection", method: "CreateSnapshot_Task", count: 1 },
  ],
  [
    "the answer to the call is cut off",
    { name: "truncatedAnswer", method: "CreateSnapshot_Task", count: 1 },
  ],
  [
    "the session expires before the call",
    { name: "expireSessions", method: "CreateSnapshot_Task", count: 1 },
  ],
  [
    "an upstream proxy answers instead of vCenter",
    { name: "http503Html", method: "CreateSnapshot_Task", count: 1 },
  ],
  [
    "the session expires while the task runs",
    { name: "expireSessions", method: "RetrievePropertiesEx", count: 1 },
  ],
  [
    "the connection is lost while the task runs",
    { name: "cutConnection", method: "RetrievePropertiesEx", count: 1 },
  ],
];

describe("one snapshot and not two exists when", { concurrency: 6 }, () => {
  for (const [title, fault] of losses)
    test(title, async () => {
      await using started = await startLabClient({ vms, snapshotMs: 150 });
      started.lab.faults.add(fault);
      const made = await started.client.createSnapshot(started.lab.vm("vm").moref, spec);
      assert.deepEqual(
        started.lab.vm("vm").snapshots.map(({ moref, name }) => [moref, name]),
        [[made.moref, spec.name]],
      );
    });

  test("vCenter restarts right after the call", async () => {
    await using started = await startLabClient({ vms, snapshotMs: 300 });
    const making = started.client.createSnapshot(started.lab.vm("vm").moref, spec, {
      onTask: () => void started.lab.refuseConnections(700),
    });
    const made = await making;
    assert.deepEqual(
      started.lab.vm("vm").snapshots.map((snapshot) => snapshot.moref),
      [made.moref],
    );
  });
});

test("a snapshot call that nobody can answer any more ends when the outage has lasted too long", async () => {
  await using started = await startLabClient({ vms }, { outageMs: 600 });
  const { moref } = started.lab.vm("vm");
  const refusing = started.lab.refuseConnections(4_000);
  await assert.rejects(started.client.createSnapshot(moref, spec), (error) => {
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "vsphere-unreachable");
    return true;
  });
  await refusing;
});

describe("an aborted snapshot", { concurrency: 6 }, () => {
  test("that can still be cancelled does not come to exist", async () => {
    await using started = await startLabClient({ vms });
    started.lab.faults.add({ name: "slowSnapshot", value: 2_000 });
    await abortedSnapshot(started, () => true);
    assert.deepEqual(namesOf(started), []);
  });

  test("that came to exist nevertheless is removed before the call rejects", async () => {
    await using started = await startLabClient({ vms });
    started.lab.faults.add({ name: "slowSnapshot", value: 4_000 });
    await abortedSnapshot(started, (percent) => percent >= 50);
    assert.deepEqual(namesOf(started), []);
    assert.equal(countOf(started, "RemoveSnapshot_Task"), 1);
  });

  async function abortedSnapshot(started: LabClient, when: (percent: number) => boolean) {
    const controller = new AbortController();
    const reason = new Error("stop now");
    const making = started.client.createSnapshot(started.lab.vm("vm").moref, spec, {
      signal: controller.signal,
      onProgress: (percent) => when(percent) && controller.abort(reason),
    });
    await assert.rejects(making, (error) => error === reason);
  }
});

describe("removing a snapshot", { concurrency: 6 }, () => {
  async function withTwo(options = {}) {
    const started = await startLabClient({ vms, ...options });
    const { moref } = started.lab.vm("vm");
    const ours = await started.client.createSnapshot(moref, spec);
    await started.client.createSnapshot(moref, { ...spec, name: "an operator's" });
    started.lab.log.clear();
    return { started, ours: ours.moref, vmMoref: moref };
  }

  test("takes it alone and consolidates, its child stays", async () => {
    const { started, ours } = await withTwo();
    await using _ = started;
    assert.deepEqual(await started.client.removeSnapshot(ours), { consolidationNeeded: false });
    assert.deepEqual(namesOf(started), ["an operator's"]);
    const call = started.lab.log.calls.find(({ method }) => method === "RemoveSnapshot_Task");
    assert.deepEqual(call?.parameters, { removeChildren: false, consolidate: true });
  });

  const removalLosses: [string, FaultRequest][] = [
    ["the task vanishes", { name: "vanishedTask", count: 1 }],
    [
      "the answer to the call is lost",
      { name: "cutConnection", method: "RemoveSnapshot_Task", count: 1 },
    ],
    [
      "the session has expired",
      { name: "expireSessions", method: "RemoveSnapshot_Task", count: 1 },
    ],
    ["vCenter is not ready", { name: "http503Html", method: "RemoveSnapshot_Task", count: 1 }],
  ];
  for (const [title, fault] of removalLosses)
    test(`succeeds although ${title}`, async () => {
      const { started, ours, vmMoref } = await withTwo();
      await using _ = started;
      started.lab.faults.add(fault);
      await started.client.removeSnapshot(ours, { vmMoref });
      assert.deepEqual(namesOf(started), ["an operator's"]);
    });

  test("resolves for one that is gone already, with and without its machine named", async () => {
    const { started, ours, vmMoref } = await withTwo();
    await using _ = started;
    await started.client.removeSnapshot(ours);
    await started.client.removeSnapshot(ours);
    await started.client.removeSnapshot(ours, { vmMoref });
    assert.deepEqual(namesOf(started), ["an operator's"]);
  });

  test("reports a failed task, and the snapshot is still there", async () => {
    const { started, ours } = await withTwo();
    await using _ = started;
    started.lab.faults.add({ name: "removeFails", count: 1 });
    await assert.rejects(started.client.removeSnapshot(ours), { code: "vsphere-task-failed" });
    assert.equal(namesOf(started).length, 2);
  });

  test("says when the disks need consolidation afterwards", async () => {
    const { started, ours } = await withTwo();
    await using _ = started;
    started.lab.faults.add({ name: "consolidationNeeded", count: 1 });
    assert.deepEqual(await started.client.removeSnapshot(ours), { consolidationNeeded: true });
  });

  test("is refused without the privilege", async () => {
    const { started, ours } = await withTwo();
    await using _ = started;
    await using reader = await started.connect({ username: "readonly@vsphere.local" });
    await assert.rejects(reader.removeSnapshot(ours), { code: "vsphere-permission" });
    assert.equal(namesOf(started).length, 2);
  });
});

test("the tree shows names, descriptions and parents as they are", async () => {
  await using started = await startLabClient({ vms });
  const { moref } = started.lab.vm("vm");
  const texts = ['ö <&> "quoted"', "second\nline", "third"];
  for (const name of texts)
    await started.client.createSnapshot(moref, { name, description: ` ${name} `, quiesce: false });
  const seen: string[] = [];
  let nodes = await started.client.snapshotTree(moref);
  for (let node = nodes[0]; node; node = nodes[0]) {
    assert.equal(node.description, ` ${node.name} `);
    assert.ok(!Number.isNaN(Date.parse(node.createdAt)));
    seen.push(node.name);
    nodes = node.children;
  }
  assert.deepEqual(seen, texts);
});

describe("power", { concurrency: 6 }, () => {
  test("a guest is shut down by its Tools, and without Tools that is refused", async () => {
    await using started = await startLabClient({ vms });
    const { moref } = started.lab.vm("vm");
    await started.client.shutdownGuest(moref);
    while ((await started.client.readPowerState(moref)) !== "poweredOff");
    await assert.rejects(started.client.shutdownGuest(started.lab.vm("notools").moref), (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.context.fault, "ToolsUnavailable");
      return true;
    });
  });

  test("a machine is powered off, and on again, although the answers are lost", async () => {
    await using started = await startLabClient({ vms });
    const vm = started.lab.vm("vm");
    started.lab.faults.add({ name: "cutConnection", method: "PowerOffVM_Task", count: 1 });
    await started.client.powerOff(vm.moref);
    assert.equal(vm.record.powerState, "poweredOff");
    started.lab.faults.add({ name: "cutConnection", method: "PowerOnVM_Task", count: 1 });
    await started.client.powerOn(vm.moref);
    assert.equal(vm.record.powerState, "poweredOn");
  });
});
