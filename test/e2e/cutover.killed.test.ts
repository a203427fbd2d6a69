import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../until.ts";
import { startCommand } from "./cli-commands.ts";
import { assertMoved, calls, cutover, lab, type Outcome, vm } from "./cutover-lab.ts";
import { assertNoSnapshot } from "./migrate-checks.ts";

const key = 2000;

const stages: [title: string, promise: "poweredOn" | "poweredOff", reach: () => Promise<void>][] = [
  [
    "while the VM is synced",
    "poweredOn",
    async () => {
      await lab.vddk.setFaults({ delay_us: 300_000 });
      await vm.write(key, 0, Buffer.alloc(1 << 20, 5));
      await until("a disk is read", () => lab.nfc.connectionCount > 0);
    },
  ],
  [
    "while the guest is waited for",
    "poweredOn",
    async () => {
      lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
      await until("the guest was asked", () => calls("ShutdownGuest") > 0);
    },
  ],
  [
    "during the last sync",
    "poweredOff",
    async () => {
      await until("the guest is down", () => vm.record.powerState === "poweredOff");
      lab.vcenter.faults.add({ name: "slowSnapshot", value: 4000, count: 1 });
      const snapshots = calls("CreateSnapshot_Task");
      await until("the last sync began", () => calls("CreateSnapshot_Task") > snapshots);
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
