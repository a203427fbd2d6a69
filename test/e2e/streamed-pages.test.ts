import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { migrateWell } from "./migrate-checks.ts";

let lab: Lab;
let vm: LabVm;
before(async () => {
  lab = await startLab({ targets: "direct", vcenter: { areasPerPage: 2 } });
  vm = lab.vm("MyVM");
});
after(() => lab.stop());
beforeEach(() => lab.vcenter.faults.clear());

const method = "QueryChangedDiskAreas";

/** Far more pages of changes than are awaited before copying begins. */
async function scatter(seed: number): Promise<void> {
  await vm.randomWrites(2000, { seed, writes: 160, minimumBytes: 512, maximumBytes: 4096 });
}

test("with many pages of changes the first byte moves before the last page arrives", async () => {
  await migrateWell(lab, vm);
  await scatter(1);
  lab.vcenter.log.clear();
  lab.vcenter.faults.add({ name: "delayMs", method, skip: 17, value: 150 });
  const jobId = "streamed";
  const summary = await migrateWell(lab, vm, { jobId });
  const pages = lab.vcenter.log.calls.filter((call) => call.method === method);
  assert.ok(pages.length > 20, `${pages.length} pages`);
  const [disk] = summary.disks;
  assert.equal(disk!.sync_type, "incremental");
  assert.equal(disk!.planned_bytes, disk!.copied_bytes + disk!.zeroed_bytes + disk!.skipped_bytes);

  const transfer = lab.vma.updatesOf(jobId).filter(({ body }) => body.stage === "Transfer");
  const totals = transfer.map(({ body }) => body.total_bytes);
  assert.ok(totals[0]! < totals.at(-1)!, "the plan grew while copying ran");
  const percents = transfer.filter(({ body }) => !body.disk_id).map(({ body }) => body.percent);
  assert.deepEqual(
    percents,
    percents.toSorted((a, b) => a - b),
    "the percentage never went back",
  );
  assert.deepEqual(lab.vma.violations, []);
});

test("when vSphere loses track of the changes in mid-copy, everything is copied", async () => {
  await migrateWell(lab, vm);
  await scatter(2);
  lab.vcenter.faults.add({ name: "fileFault", skip: 20, count: 1 });
  const summary = await migrateWell(lab, vm);
  assert.equal(summary.disks[0]!.sync_type, "full");
  assert.match(summary.disks[0]!.reason, /could not tell what changed/);
});
