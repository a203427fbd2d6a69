import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { until } from "../until.ts";
import { runCommand } from "./cli-commands.ts";
import { assertEqualTargets, assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

const mebibyte = 1 << 20;
const disk = {
  capacityBytes: 4 * mebibyte,
  fill: { seed: 4, dataRatio: 0.6, zeroRatio: 0.1 },
};

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

async function withSnapshot(name: string) {
  const vm = await lab.addVm({ name, disks: [disk] });
  await vm.createSnapshot({ name: "before the update", description: "", quiesced: false });
  return vm;
}

const reconfigurations = () =>
  lab.vcenter.log.calls.filter(({ method }) => method === "ReconfigVM_Task").length;

test("tracking is not turned on over a user's snapshot: every run copies all, and says why", async () => {
  const vm = await withSnapshot("untracked");
  // What vSphere may do where it is turned on all the same.
  lab.vcenter.faults.add({ name: "changesLeftOut" });
  const check = await runCommand(lab, "check", vm, { extra: ["--json"] });
  assert.match(check.stdout, /stays off, as the VM has snapshots \(\\"before the update\\"\)/);
  const before = reconfigurations();
  for (const seed of [1, 2]) {
    await vm.randomWrites(2000, { seed, writes: 12 });
    const run = await lab.migrate(vm, { extra: ["--json"] });
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stderr, /--allow-tracking-over-snapshots/);
    assert.equal((JSON.parse(run.stdout) as { sync_type: string }).sync_type, "full");
    await assertEqualTargets(lab, vm);
  }
  assert.equal(reconfigurations(), before);
  assert.equal(vm.record.changeTrackingEnabled, false);
  vm.removeSnapshot(vm.snapshots[0]!.moref);
  lab.vcenter.faults.clear();
  await migrateWell(lab, vm);
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});

test("--allow-tracking-over-snapshots turns it on", async () => {
  const vm = await withSnapshot("allowed");
  const run = await lab.migrate(vm, { extra: ["--allow-tracking-over-snapshots", "--json"] });
  assert.equal(run.code, 0, run.stderr);
  assert.equal(vm.record.changeTrackingEnabled, true);
});

test("a dead run's own snapshot is removed before tracking is turned on", async () => {
  const vm = await lab.addVm({ name: "interrupted", disks: [disk] });
  await lab.vddk.setFaults({ delay_us: 20_000_000 });
  const { child, result } = startCli({ args: lab.migrateArgs(vm) });
  await until("its snapshot is there", () => vm.snapshots.length > 0);
  child.kill("SIGKILL");
  await result;
  await lab.vddk.setFaults({});
  vm.set({ changeTrackingEnabled: false });
  await migrateWell(lab, vm);
  assertNoSnapshot(vm);
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});

test("a disk that is added while a run begins is part of that run", async () => {
  const vm = await lab.addVm({ name: "growing", disks: [disk] });
  lab.vcenter.faults.add({ name: "slowTasks", value: 1500, count: 1 });
  const before = reconfigurations();
  const running = lab.migrate(vm, { extra: ["--json"] });
  await until("tracking is being turned on", () => reconfigurations() > before);
  await vm.addDisk(disk);
  await lab.targets.addVm(vm);
  const run = await running;
  assert.equal(run.code, 0, run.stderr);
  const { disks } = JSON.parse(run.stdout) as { disks: { disk_id: string }[] };
  assert.deepEqual(
    disks.map(({ disk_id }) => disk_id),
    ["disk-2000", "disk-2001"],
  );
  await assertEqualTargets(lab, vm);
  assertNoSnapshot(vm);
});
