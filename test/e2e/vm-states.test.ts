import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { nfcPort, runCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";
import { preflightHere } from "./preflight.ts";

const small = { capacityBytes: 2 << 20, fill: { seed: 1, dataRatio: 0.5, zeroRatio: 0.1 } };

let lab: Lab;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: [
      { name: "template01", template: true, powerState: "poweredOff", disks: [small] },
      { name: "away01", host: "127.0.0.1", disks: [small] },
      { name: "suspended01", powerState: "suspended", disks: [small] },
    ],
    vcenter: { hosts: ["localhost", "127.0.0.1"] },
  });
});
after(() => lab.stop());

async function checkVm(vm: LabVm) {
  const [, ...args] = lab.migrateArgs(vm);
  const found = await preflightHere(["check", ...args], { MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab) });
  const told = found.findings.filter(({ area, level }) => area === "vm" && level !== "ok");
  for (const { message, remedy } of told) {
    assert.doesNotMatch(`${message} ${remedy}`, /hardware version/);
  }
  return { ...found, told };
}

/** Every command that would change the VM, before it has asked vSphere for any change. */
async function assertRefused(vm: LabVm, cause: RegExp, remedy: RegExp): Promise<void> {
  for (const command of ["migrate", "verify", "cutover"]) {
    lab.vcenter.log.clear();
    const extra = command === "cutover" ? ["--yes"] : [];
    const run = await runCommand(lab, command, vm, { extra });
    assertFailure(run, 3, cause, remedy);
    assert.doesNotMatch(run.stderr, /hardware version/);
    assert.deepEqual(lab.vcenter.log.changes(), [], command);
  }
  assert.equal(vm.record.changeTrackingEnabled, false);
}

test("a template is a problem, and no command touches it", async () => {
  const vm = lab.vm("template01");
  const { code, told } = await checkVm(vm);
  assert.equal(code, 3);
  assert.deepEqual(
    told.map(({ level, message }) => `${level} ${message}`),
    ["problem template01 is a template"],
  );
  await assertRefused(vm, /\[vm-unsuitable\].*is a template/, /Convert it to a virtual machine/);
});

for (const state of ["disconnected", "notResponding"] as const) {
  test(`a VM whose host is ${state} is a problem, and no command touches it`, async () => {
    const vm = lab.vm("away01");
    lab.vcenter.setHost("127.0.0.1", { connectionState: state });
    const { code, told } = await checkVm(vm);
    assert.equal(code, 3);
    const message = `away01 is disconnected: its ESXi host 127.0.0.1 is ${state}`;
    assert.ok(
      told.some((one) => one.level === "problem" && one.message === message),
      message,
    );
    await assertRefused(vm, /\[vm-unsuitable\].*disconnected/, /Connect the host 127\.0\.0\.1/);
  });
}

test("a VM whose host is back is migrated", async () => {
  lab.vcenter.setHost("127.0.0.1", { connectionState: "connected" });
  assert.equal((await checkVm(lab.vm("away01"))).code, 0);
  await migrateWell(lab, lab.vm("away01"));
});

test("a suspended VM is copied whole without tracking, and tracked once it is off", async () => {
  const vm = lab.vm("suspended01");
  const { code, told } = await checkVm(vm);
  assert.equal(code, 0);
  assert.equal(told[0]?.level, "warning");
  assert.match(
    told[0]?.message ?? "",
    /suspended, so changed block tracking.*every run copies all/,
  );
  assert.equal(told[0]?.remedy, "Resume it or power it off.");

  for (const _ of [1, 2]) {
    const { sync_type, log } = await migrateWell(lab, vm);
    assert.equal(sync_type, "full");
    assert.match(log, /suspended.*until the VM is resumed or powered off/);
    assert.doesNotMatch(log, /hardware version|although tracking is on/);
  }
  assert.equal(vm.record.powerState, "suspended");

  vm.setPowerState("poweredOff");
  assert.equal((await migrateWell(lab, vm)).sync_type, "full");
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});

test("a suspended VM with tracking on is copied incrementally", async () => {
  const vm = lab.vm("suspended01");
  vm.setPowerState("suspended");
  assert.deepEqual((await checkVm(vm)).told, []);
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});
