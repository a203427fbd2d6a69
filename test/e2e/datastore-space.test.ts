import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { hasJournal, runCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";

const gibibyte = 2 ** 30;

let lab: Lab;
let vm: LabVm;
before(async () => {
  const fill = { seed: 2, dataRatio: 0.8, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: [{ name: "roomy", disks: [{ capacityBytes: 6 << 20, fill }] }],
  });
  vm = lab.vm("roomy");
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.inventory.freeBytes.clear();
  await lab.vddk.setFaults({});
});

const setFree = (bytes: number) => lab.vcenter.inventory.freeBytes.set("datastore1", bytes);

test("a datastore that is nearly full is refused before a snapshot is made, and check says so", async () => {
  setFree(gibibyte / 2);
  lab.vcenter.log.clear();
  assertFailure(await lab.migrate(vm), 3, /\[datastore-full\].*datastore1 has 512 MiB free/);
  assert.ok(!lab.vcenter.log.calls.some(({ method }) => method === "CreateSnapshot_Task"));
  const check = await runCommand(lab, "check", vm, { extra: ["--json"] });
  assert.equal(check.code, 3);
  assert.match(check.stdout, /datastore1 has 512 MiB free/);
  await migrateWell(lab, vm, { extra: ["--datastore-floor", "100M"] });
});

test("below twice the floor a run warns and goes on", async () => {
  setFree(1.5 * gibibyte);
  assert.match((await migrateWell(lab, vm)).log, /datastore1 has only 1\.5 GiB free/);
});

test("a datastore that fills up in mid-copy ends the run politely, and the next one goes on", async () => {
  await lab.vddk.setFaults({ delay_us: 8_000_000, aio_threads: 1 });
  const { result } = startCli({ args: lab.migrateArgs(vm, { extra: ["--full"] }) });
  await until("it copies", () => hasJournal(lab, vm) && vm.snapshots.length > 0);
  setFree(gibibyte / 2);
  assertFailure(await result, 3, /\[datastore-full\]/, /Make room/);
  assert.equal(vm.snapshots.length, 0);
  lab.vcenter.inventory.freeBytes.clear();
  await lab.vddk.setFaults({});
  await migrateWell(lab, vm);
});
