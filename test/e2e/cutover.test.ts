import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../until.ts";
import { runCommand, startCommand } from "./cli-commands.ts";
import { assertMoved, calls, cutover, lab, type Outcome, vm } from "./cutover-lab.ts";
import { assertFailure, assertNoSnapshot } from "./migrate-checks.ts";

const usage = 2;
const vsphere = 3;
const key = 2000;

test("the guest writes until it is shut down, and the targets hold its last byte", async () => {
  await vm.guest.start({ seed: 3, intervalMs: 5, maximumBytes: 65_536 });
  const run = await runCommand(lab, "cutover", vm, {
    extra: ["--yes", "--json", "--verify"],
    jobId: "cutover-1",
  });
  await vm.guest.stop();
  assert.equal(run.code, 0, run.stderr);
  const { passes, final_sync, power_state, forced } = run.json<Outcome>();
  assert.equal(power_state, "poweredOff");
  assert.equal(forced, false);
  // The first copies all and so tells nothing about the last.
  assert.deepEqual(
    passes.map(({ sync_type }) => sync_type),
    ["full", "incremental"],
  );
  assert.equal(final_sync.sync_type, "incremental");
  assert.equal(calls("ShutdownGuest"), 1);
  assert.equal(calls("PowerOffVM_Task"), 0);
  await assertMoved();
  assertNoSnapshot(vm);

  const updates = lab.vma.updatesOf("cutover-1");
  const ends = updates.filter(({ body }) => body.status !== "in_progress");
  assert.deepEqual(ends, updates.slice(-1), "one end for all syncs together");
  assert.equal(ends[0]!.body.status, "completed");
  assert.deepEqual(lab.vma.violations, []);
});

test("a VM that is off already gets its last sync alone", async () => {
  await vm.randomWrites(key, { seed: 4, writes: 4, maximumBytes: 65_536 });
  vm.setPowerState("poweredOff");
  const run = await cutover();
  assert.equal(run.code, 0, run.stderr);
  assert.deepEqual(run.passes, []);
  assert.equal(calls("ShutdownGuest") + calls("PowerOffVM_Task"), 0);
  await assertMoved();
  const inWords = await startCommand(lab, "cutover", vm, { extra: ["--yes", "--reopen"] }).result;
  assert.match(inWords.stderr, /its targets hold its last state \(1 sync, /);
});

test("a guest that takes its time is waited for", async () => {
  lab.vcenter.faults.add({ name: "slowGuestShutdown", value: 2500 });
  const run = await cutover("--shutdown-timeout", "1m", "--force-power-off");
  assert.equal(run.code, 0, run.stderr);
  assert.equal(calls("PowerOffVM_Task"), 0, "force is the last resort");
  await assertMoved();
});

test("a guest that ignores the request stays on, and that is said", async () => {
  lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
  const run = await cutover("--shutdown-timeout", "1s");
  assertFailure(run, vsphere, /\[shutdown-failed\].*not down after 0:01/, /--force-power-off/);
  assert.match(run.stderr, /still powered on, but its guest was asked to shut down/);
  assert.equal(run.power_state, "poweredOn");
  assert.equal(calls("PowerOffVM_Task"), 0);
  assert.equal(vm.record.powerState, "poweredOn");
});

test("only where it was allowed, a guest that ignores the request is powered off", async () => {
  lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
  const run = await cutover("--shutdown-timeout", "1s", "--force-power-off");
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.forced, true);
  await assertMoved();
});

test("without Tools nothing is begun", async () => {
  vm.set({ tools: "notRunning" });
  const run = await cutover();
  assertFailure(run, vsphere, /\[shutdown-failed\].*VMware Tools do not run/);
  assert.match(run.stderr, /still powered on and was not told to shut down/);
  assert.deepEqual(lab.vcenter.log.changes(), []);
});

test("when the last sync would take too long, the VM is not shut down", async () => {
  const run = await cutover("--max-downtime", "1ms", "--max-passes", "2");
  assertFailure(run, usage, /\[downtime-exceeded\] ?.*after 2 passes/, /--max-downtime/);
  assert.equal(calls("CreateSnapshot_Task"), 2);
  assert.equal(calls("ShutdownGuest"), 0);
  assert.equal(vm.record.powerState, "poweredOn");
});

test("without a terminal it wants --yes, and asks vSphere nothing before", async () => {
  const run = await runCommand(lab, "cutover", vm);
  assertFailure(run, usage, /\[usage\].*no terminal/, /--yes/);
  assert.deepEqual(lab.vcenter.log.calls, []);
});

test("powered on again behind our back, the VM is not called moved", async () => {
  lab.vcenter.faults.add({ name: "slowGuestShutdown", value: 10 });
  const { result } = startCommand(lab, "cutover", vm, { extra: ["--yes"] });
  await until("the guest is down", () => vm.record.powerState === "poweredOff");
  const snapshots = calls("CreateSnapshot_Task");
  await until("the last sync began", () => calls("CreateSnapshot_Task") > snapshots);
  vm.setPowerState("poweredOn");
  const run = await result;
  assertFailure(run, vsphere, /\[power-state-changed\]/);
});
