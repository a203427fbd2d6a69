import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { compareFiles } from "../lab/compare.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { runCommand, startCommand, until } from "./cli-commands.ts";
import { assertNoSnapshot } from "./migrate-checks.ts";

const key = 2000;

interface Outcome {
  status: string;
  power_state?: string;
  power?: string;
}

let lab: Lab;
let vm: LabVm;
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
  lab.vcenter.log.clear();
});

const calls = (method: string) =>
  lab.vcenter.log.calls.filter((call) => call.method === method).length;

async function cutover(...extra: string[]) {
  const run = await runCommand(lab, "cutover", vm, { extra: ["--yes", "--json", ...extra] });
  assertNoSnapshot(vm);
  return { ...run, ...run.json<Outcome>() };
}

/** The VM is off, so its disk is the truth, not a snapshot of it. */
async function assertMoved(): Promise<void> {
  assert.equal(vm.record.powerState, "poweredOff");
  const { targetFile, capacityBytes } = lab.targets.disksOf(vm)[0]!;
  const { equal, difference } = await compareFiles(
    vm.disk(key).imagePath,
    targetFile,
    capacityBytes,
  );
  assert.ok(equal, difference);
}

const stages: [title: string, promise: "poweredOn" | "poweredOff", reach: () => Promise<void>][] = [
  [
    "while the VM is synced",
    "poweredOn",
    async () => {
      await lab.vddk.setFaults({ delay_us: 300_000 });
      await vm.write(key, 0, Buffer.alloc(1 << 20, 5));
      await until(() => lab.nfc.connectionCount > 0, "a disk is read");
    },
  ],
  [
    "while the guest is waited for",
    "poweredOn",
    async () => {
      lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
      await until(() => calls("ShutdownGuest") > 0, "the guest was asked");
    },
  ],
  [
    "during the last sync",
    "poweredOff",
    async () => {
      await until(() => vm.record.powerState === "poweredOff", "the guest is down");
      lab.vcenter.faults.add({ name: "slowSnapshot", value: 4000, count: 1 });
      const snapshots = calls("CreateSnapshot_Task");
      await until(() => calls("CreateSnapshot_Task") > snapshots, "the last sync began");
    },
  ],
];

for (const [title, promised, reach] of stages) {
  test(`interrupted ${title}, it says that the VM is ${promised}`, async () => {
    const { child, result } = startCommand(lab, "cutover", vm, { extra: ["--yes", "--json"] });
    await reach();
    child.kill("SIGTERM");
    const run = await result;
    assert.equal(run.signal, "SIGTERM", run.stderr);
    const outcome = JSON.parse(run.stdout) as Outcome;
    assert.equal(outcome.power_state, promised);
    assert.match(run.stderr, promised === "poweredOn" ? /still powered on/ : /is powered off/);
    assert.equal(vm.record.powerState, promised);
    assertNoSnapshot(vm);
  });

  test(`killed ${title}, the VM is ${promised}, and the next cutover ends it well`, async () => {
    const { child, result } = startCommand(lab, "cutover", vm, { extra: ["--yes"] });
    await reach();
    child.kill("SIGKILL");
    await result;
    assert.equal(vm.record.powerState, promised);
    lab.vcenter.faults.clear();
    await lab.vddk.setFaults({});
    const run = await cutover();
    assert.equal(run.code, 0, run.stderr);
    await assertMoved();
  });
}
