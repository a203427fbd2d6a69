// One running machine and its target, ready for a cutover before each test.

import { after, before, beforeEach } from "node:test";
import { State } from "../../src/state/state.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { runCommand } from "./cli-commands.ts";
import { assertMoved as assertMovedTo, assertNoSnapshot } from "./migrate-checks.ts";

export interface Outcome {
  status: string;
  power_state?: string;
  power?: string;
  forced?: boolean;
  passes: { sync_type: string }[];
  final_sync: { sync_type: string; quiesced: boolean };
}

export let lab: Lab;
export let vm: LabVm;
before(async () => {
  const fill = { seed: 1, dataRatio: 0.6, zeroRatio: 0.1 };
  lab = await startLab({
    targets: "direct",
    vms: [{ name: "live01", disks: [{ capacityBytes: (4 << 20) + 512, fill }] }],
  });
  vm = lab.vm("live01");
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
  vm.set({ tools: "running" });
  vm.setPowerState("poweredOn");
  reopen();
  lab.vcenter.log.clear();
});

/** No cutover counts any more. */
function reopen(): void {
  using state = State.openExisting(lab.stateDir);
  for (const known of state?.listVms() ?? []) state?.clearCutOver(known);
}

export const calls = (method: string) =>
  lab.vcenter.log.calls.filter((call) => call.method === method).length;

export async function cutover(...extra: string[]) {
  const run = await runCommand(lab, "cutover", vm, { extra: ["--yes", "--json", ...extra] });
  assertNoSnapshot(vm);
  return { ...run, ...run.json<Outcome>() };
}

export const assertMoved = () => assertMovedTo(lab, vm);
