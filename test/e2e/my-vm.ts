// MyVM and its target beside it, for all tests of a file; whatever was broken is whole before each test.

import { after, before, beforeEach } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";

export let lab: Lab;
export let vm: LabVm;
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
});
