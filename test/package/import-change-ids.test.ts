// Coming from another program: its change IDs are taken over once, and proved before they are used.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertFailure, migrateWell } from "../e2e/migrate-checks.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

/** As the other program left it: targets that equal a snapshot, and the change IDs of that snapshot. */
async function syncedElsewhere(vm: LabVm): Promise<string> {
  const { disks } = await migrateWell(lab, vm, stateDir(`${vm.name}-elsewhere`));
  return disks.map(({ disk_id, change_id }) => `${disk_id}:${change_id}`).join(",");
}

function stateDir(name: string, ...extra: string[]) {
  return { extra: ["--state-dir", `${lab.dir}/state-${name}`, ...extra] };
}

test("imported change IDs make the first run incremental, and later runs need them no more", async () => {
  const vm = lab.vm("web01");
  const ids = await syncedElsewhere(vm);
  for (const { record } of vm.disks) await vm.randomWrites(record.key, { seed: 5, writes: 12 });
  const imported = stateDir("web01-ours", "--import-change-ids", ids);
  const first = await migrateWell(lab, vm, imported);
  for (const disk of first.disks) {
    assert.equal(disk.sync_type, "incremental", disk.reason);
    assert.match(disk.reason, /from elsewhere/);
  }
  // Left behind in a configuration: our own record has the say now.
  await vm.randomWrites(2000, { seed: 6, writes: 3 });
  const second = await migrateWell(lab, vm, imported);
  assert.match(second.log, /--import-change-ids is not used/);
  for (const disk of second.disks) assert.match(disk.reason, /same history/);
});

test("onto a target that does not hold that state an imported change ID is not used", async () => {
  const vm = lab.vm("MyVM");
  const ids = await syncedElsewhere(vm);
  await lab.targets.reset(vm);
  const imported = ["--import-change-ids", ids];
  const refused = await lab.migrate(vm, stateDir("reset", ...imported));
  assertFailure(refused, 5, /\[target-mismatch\].*differs at offset/);
  const asked = stateDir("reset", ...imported, "--on-target-mismatch", "full");
  const summary = await migrateWell(lab, vm, asked);
  assert.equal(summary.disks[0]!.sync_type, "full");
  assert.match(summary.disks[0]!.reason, /differs/);
});

test("a change ID of another history leads to a full copy", async () => {
  const vm = lab.vm("MyVM");
  const other = "52 de c0 d9 00 11 22 33-6e a2 44 55 66 77 88 08/7";
  const summary = await migrateWell(
    lab,
    vm,
    stateDir("history", "--import-change-ids", `2000:${other}`),
  );
  assert.equal(summary.disks[0]!.sync_type, "full");
  assert.match(summary.disks[0]!.reason, /another history/);
});

const id = "52 de c0 d9 00 11 22 33-6e a2 44 55 66 77 88 08/7";
const refusals: [string, string, Record<string, string>, RegExp][] = [
  ["no list", "52 de/7", {}, /--import-change-ids has "52 de\/7"/],
  ["something that is no change ID", "2000:52 de/7", {}, /"52 de\/7" is not a change ID/],
  ["a disk that the VM does not have", `2009:${id}`, {}, /names 2009, which is not migrated/],
  ["a job of the OMA API", `2000:${id}`, { MIGRATEKIT_JOB_ID: "r-1" }, /both given/],
];
for (const [title, list, env, message] of refusals) {
  test(`an import with ${title} is refused before anything is done`, async () => {
    const vm = lab.vm("MyVM");
    const run = await lab.migrate(vm, stateDir("refused", "--import-change-ids", list), env);
    assertFailure(run, 2, message);
    assert.equal(vm.snapshots.length, 0);
  });
}

test("with the OMA API the other program's change IDs are simply there", async () => {
  const vm = lab.vm("cold01");
  const env = { MIGRATEKIT_JOB_ID: "replication-7" };
  await migrateWell(lab, vm, stateDir("oma-elsewhere"), env);
  await vm.randomWrites(2000, { seed: 8, writes: 4 });
  const ours = await migrateWell(lab, vm, stateDir("oma-ours"), env);
  assert.equal(ours.disks[0]!.sync_type, "incremental", ours.disks[0]!.reason);
  // And a later run without the job goes on from what that run left here.
  const local = await migrateWell(lab, vm, stateDir("oma-ours"));
  assert.equal(local.disks[0]!.sync_type, "incremental", local.disks[0]!.reason);
});
