// What an administrator or other software does to a VM while it is being copied.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { hasJournal } from "./cli-commands.ts";
import {
  assertEqualTargets,
  assertNoSnapshot,
  migrateWell,
  type Summary,
} from "./migrate-checks.ts";

const mebibyte = 1 << 20;
const fill = { seed: 6, dataRatio: 0.7, zeroRatio: 0.1 };

let lab: Lab;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vcenter: { hosts: ["localhost"], datastores: ["datastore1", "datastore2"] },
  });
});
after(() => lab.stop());
beforeEach(() => lab.vddk.setFaults({}));

/** A VM whose second run is in the middle of its copy. */
async function copying(name: string): Promise<{ vm: LabVm; run: CliRun }> {
  const vm = await lab.addVm({ name, disks: [{ capacityBytes: 6 * mebibyte, fill }] });
  await vm.createSnapshot({ name: "by hand", description: "", quiesced: false });
  vm.set({ changeTrackingEnabled: true });
  const first = await lab.migrate(vm, { extra: ["--json"] });
  assert.equal(first.code, 0, first.stderr);
  await vm.randomWrites(2000, { seed: 1, writes: 10 });
  await lab.vddk.setFaults({ delay_us: 4_000_000, aio_threads: 1 });
  const run = startCli({ args: lab.migrateArgs(vm, { extra: ["--full", "--json"] }) });
  await until("it copies", () => hasJournal(lab, vm) && lab.nfc.connectionCount > 0);
  return { vm, run };
}

async function endOf({ run }: { run: CliRun }) {
  await lab.vddk.setFaults({});
  return await run.result;
}

/** However it ended: what is called complete is, and the next run makes it so. */
async function assertNextIsExact(vm: LabVm): Promise<Summary> {
  for (const { moref } of [...vm.snapshots]) vm.removeSnapshot(moref);
  await vm.randomWrites(2000, { seed: 2, writes: 10 });
  return await migrateWell(lab, vm);
}

test("a disk that moves to another datastore ends the run, or not; the next one is exact", async () => {
  const { vm, run } = await copying("motion");
  vm.move({ datastore: "datastore2" });
  await vm.randomWrites(2000, { seed: 3, writes: 10 });
  const { code, stderr } = await endOf({ run });
  assert.ok(code === 0 || code === 4, stderr);
  if (code === 0) await assertEqualTargets(lab, vm);
  await assertNextIsExact(vm);
});

test("a motion that begins a new tracking history makes the next run a full one", async () => {
  const { vm, run } = await copying("motion-reset");
  vm.move({ datastore: "datastore2", resetTracking: true });
  await vm.randomWrites(2000, { seed: 3, writes: 10 });
  const { code, stderr } = await endOf({ run });
  assert.ok(code === 0 || code === 4, stderr);
  const { disks } = await assertNextIsExact(vm);
  assert.equal(disks[0]!.sync_type, "full", disks[0]!.reason);
});

test("a consolidation in mid-copy leaves what is copied right", async () => {
  const { vm, run } = await copying("consolidated");
  await vm.consolidate();
  await vm.randomWrites(2000, { seed: 3, writes: 10 });
  const { code, stderr } = await endOf({ run });
  assert.ok(code === 0 || code === 4, stderr);
  if (code === 0) await assertEqualTargets(lab, vm);
  await assertNextIsExact(vm);
});

test("a revert in mid-copy leaves the run its snapshot, and the next run brings what went back", async () => {
  const { vm, run } = await copying("reverted");
  await vm.revertTo(vm.snapshots[0]!.moref, { keepTracking: true });
  const { code, stderr } = await endOf({ run });
  assert.equal(code, 0, stderr);
  await assertEqualTargets(lab, vm);
  await assertNextIsExact(vm);
  assertNoSnapshot(vm);
});
