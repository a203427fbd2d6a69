// What backup software, a storage motion or a host that is away for a moment do to a run: nothing
// that lasts. Each fault is played as the field reports it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { hasJournal, runCommand, startCommand } from "./cli-commands.ts";
import type { Outcome } from "./cutover-lab.ts";
import { assertFailure, assertMoved, assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

const vsphere = 3;
const key = 2000;
const taskInProgress = { type: "TaskInProgress", text: "Another task is already in progress." };
const notAllowed = {
  type: "InvalidState",
  text: "The operation is not allowed in the current state.",
};
const busy = [
  ["busy-snapshot", "CreateSnapshot_Task", taskInProgress, "Snapshot"],
  ["busy-reconfigure", "ReconfigVM_Task", taskInProgress, "EnableCBT"],
  ["busy-remove", "RemoveSnapshot_Task", taskInProgress, "Finalize"],
  ["busy-state", "CreateSnapshot_Task", notAllowed, "Snapshot"],
] as const;
const ways = ["callFault", "taskFault"] as const;

/** A running machine for each test, so that several can go on at once. */
const names = [
  ...busy.flatMap(([title]) => ways.map((name) => `${title}-${name}`)),
  ...["busy-interrupted", "busy-lasting", "busy-cutover", "areas01", "areas-cutover"],
];
let lab: Lab;
before(async () => {
  const running = { tools: "running", powerState: "poweredOn" } as const;
  const fill = { dataRatio: 0.5, zeroRatio: 0.1 };
  const vms = names.map((name, seed) => ({
    ...{ name, ...running },
    disks: [{ capacityBytes: 4 << 20, fill: { seed, ...fill } }],
  }));
  const slow = { name: "areas-resumed", ...running };
  const filled = { seed: 8, dataRatio: 0.9, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: [...vms, { ...slow, disks: [{ capacityBytes: 16 << 20, fill: filled }] }],
  });
});
after(() => lab.stop());

async function write(vm: LabVm): Promise<void> {
  const seed = Math.trunc(performance.now());
  await vm.randomWrites(key, { seed, writes: 4, maximumBytes: 65_536 });
}

/** Nothing that a synced machine is copied for is its whole disk. */
async function assertIncremental(vm: LabVm, jobId: string): Promise<string> {
  const summary = await migrateWell(lab, vm, { jobId });
  const [disk] = summary.disks;
  assert.equal(disk!.sync_type, "incremental", disk!.reason);
  assert.ok(disk!.planned_bytes < vm.disks[0]!.record.capacityBytes, `${disk!.planned_bytes}`);
  return summary.log;
}

describe("while another task is in the way for 12 s", { concurrency: 3 }, () => {
  for (const [title, method, fault, stage] of busy)
    for (const name of ways)
      test(`${method} waits for it and the run completes (${title}, ${name})`, async () => {
        const vm = lab.vm(`${title}-${name}`);
        lab.vcenter.faults.add({ name, vm: vm.name, method, for_ms: 12_000, fault });
        const jobId = `${title}-${name}`;
        const { log } = await migrateWell(lab, vm, { jobId });
        assert.match(log, new RegExp(`waiting for another task: .*${fault.type}`));
        const updates = lab.vma.updatesOf(jobId).map(({ body }) => body);
        const meanwhile = updates.filter((body) => body.stage === stage && !body.disk_id);
        assert.ok(meanwhile.length >= 5, `${meanwhile.length} updates while it waited`);
        assert.equal(updates.at(-1)!.status, "completed");
        await write(vm);
        await assertIncremental(vm, `${jobId}-next`);
      });

  test("a cutover asks the guest again, and the guest's own time begins then: no force", async () => {
    const vm = lab.vm("busy-cutover");
    const struck = { name: "callFault" as const, vm: vm.name, method: "ShutdownGuest" };
    lab.vcenter.faults.add({ ...struck, for_ms: 5000, fault: taskInProgress });
    const run = await runCommand(lab, "cutover", vm, {
      extra: ["--yes", "--json", "--shutdown-timeout", "3s", "--force-power-off"],
    });
    assert.equal(run.code, 0, run.stderr);
    assert.equal(run.json<Outcome>().forced, false);
    assert.match(run.stderr, /waiting for another task: TaskInProgress/);
    await assertMoved(lab, vm);
  });

  test("SIGTERM ends a run that waits, and leaves no snapshot", async () => {
    const vm = lab.vm("busy-interrupted");
    const method = "CreateSnapshot_Task";
    const struck = { name: "callFault" as const, vm: vm.name, method, count: 100 };
    lab.vcenter.faults.add({ ...struck, fault: taskInProgress });
    const left = () => lab.vcenter.faults.list().find((one) => one.vm === vm.name)?.count;
    const run = startCommand(lab, "migrate", vm, { jobId: "busy-interrupted" });
    await until("it has tried again", () => left() === 98);
    run.child.kill("SIGTERM");
    const result = await run.result;
    assert.equal(result.signal, "SIGTERM", result.stderr);
    assert.match(result.stderr, /waiting for another task/);
    assertNoSnapshot(vm);
  });

  test("one that lasts longer than --busy-timeout is what the error and its remedy are about", async () => {
    const vm = lab.vm("busy-lasting");
    const method = "CreateSnapshot_Task";
    lab.vcenter.faults.add({ name: "callFault", vm: vm.name, method, fault: taskInProgress });
    const run = await lab.migrate(vm, { extra: ["--busy-timeout", "2s"] });
    assertFailure(run, vsphere, /\[vsphere-busy\].*TaskInProgress.*did not pass/, /a backup, a/);
    assertNoSnapshot(vm);
  });
});

const areaFaults: [string, string, string][] = [
  [
    "areas-host",
    "HostCommunication",
    "An error occurred while communicating with the remote host.",
  ],
  ["areas-system", "SystemError", "A general system error occurred: Operation was canceled"],
  ["areas-canceled", "RequestCanceled", "The task was canceled by a user."],
  ["areas-busy", "TaskInProgress", "Another task is already in progress."],
  [
    "areas-concurrent",
    "ConcurrentAccess",
    "Cannot complete operation due to concurrent modification by another operation.",
  ],
  [
    "areas-disconnected",
    "HostNotConnected",
    "Unable to communicate with the remote host, since it is disconnected.",
  ],
  ["areas-state", "InvalidState", "The operation is not allowed in the current state."],
];
const method = "QueryChangedDiskAreas";

describe("one passing fault while changes are listed", () => {
  let vm: LabVm;
  before(async () => {
    vm = lab.vm("areas01");
    await migrateWell(lab, vm);
  });

  for (const [title, type, text] of areaFaults)
    test(`leaves an incremental what it is (${title}: ${type})`, async () => {
      await write(vm);
      const fault = { type, text };
      lab.vcenter.faults.add({ name: "callFault", vm: vm.name, method, count: 1, fault });
      const log = await assertIncremental(vm, title);
      assert.match(log, new RegExp(`waiting for .*${type}`));
    });

  test("leaves a cutover's last sync as short as it was (cutover-last-sync)", async () => {
    const live = lab.vm("areas-cutover");
    await migrateWell(lab, live);
    await write(live);
    const fault = { type: "HostCommunication", text: areaFaults[0]![2] };
    const place = { vm: live.name, method };
    lab.vcenter.faults.add({ name: "callFault", ...place, skip: 1, count: 1, fault });
    const run = await runCommand(lab, "cutover", live, { extra: ["--yes", "--json"] });
    assert.equal(run.code, 0, run.stderr);
    assert.deepEqual(
      lab.vcenter.faults.list().filter((one) => one.vm === live.name),
      [],
    );
    const { passes, final_sync } = run.json<Outcome>();
    assert.deepEqual(
      passes.map(({ sync_type }) => sync_type),
      ["incremental"],
    );
    assert.equal(final_sync.sync_type, "incremental");
    await assertMoved(lab, live);
  });

  test("lets an interrupted copy be resumed", async () => {
    const big = lab.vm("areas-resumed");
    await lab.vddk.setFaults({ delay_us: 400_000, aio_threads: 1 });
    const run = startCommand(lab, "migrate", big, {
      jobId: "areas-resumed",
      extra: ["--source-connections", "1"],
    });
    await until("a part is journaled", () => hasJournal(lab, big));
    await sleep(4000);
    run.child.kill("SIGKILL");
    await run.result;
    await lab.vddk.setFaults({});
    const fault = { type: "HostCommunication", text: areaFaults[0]![2] };
    lab.vcenter.faults.add({ name: "callFault", vm: big.name, method, count: 1, fault });
    const summary = await migrateWell(lab, big);
    assert.equal(summary.disks[0]!.resumed, true, summary.disks[0]!.reason);
  });

  test("that does not pass ends the run and keeps the change ID: the next one is incremental", async () => {
    await write(vm);
    const fault = { type: "HostCommunication", text: areaFaults[0]![2] };
    lab.vcenter.faults.add({ name: "callFault", vm: vm.name, method, fault });
    const run = await lab.migrate(vm, { extra: ["--busy-timeout", "1s"] });
    assertFailure(run, vsphere, /\[vsphere-busy\].*HostCommunication.*did not pass/, /connected/);
    assertNoSnapshot(vm);
    lab.vcenter.faults.clear();
    await assertIncremental(vm, "after-lasting");
  });
});
