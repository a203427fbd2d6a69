import assert from "node:assert/strict";
import { test } from "node:test";
import { startLab } from "../lab/start-lab.ts";
import { migrateWell } from "./migrate-checks.ts";

/** As VMFS, NFS, vSAN and vVol datastores are called in the field. */
const names = ["datastore1", "NFS 01 (site B)", "vsanDatastore", "vVol-gold.é", "iscsi_lun-7"];

test("disks are read from datastores of any name, and a move to another stays incremental", async () => {
  await using lab = await startLab({ targets: "direct", vcenter: { datastores: names } });
  const fill = { seed: 8, dataRatio: 0.6, zeroRatio: 0.1 };
  const vm = await lab.addVm({ name: "traveller", disks: [{ capacityBytes: 2 << 20, fill }] });
  await migrateWell(lab, vm);
  for (const [at, datastore] of names.slice(1).entries()) {
    vm.move({ datastore });
    await vm.randomWrites(2000, { seed: at, writes: 6 });
    const { sync_type, log } = await migrateWell(lab, vm);
    assert.equal(sync_type, "incremental", `${datastore}: ${log}`);
  }
});
