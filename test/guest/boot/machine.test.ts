import assert from "node:assert/strict";
import { test } from "node:test";
import { type MachinePlan, qemuArguments } from "../../../src/guest/boot/machine.ts";

const plan: MachinePlan = {
  hardware: {
    ...{ controller: "virtio", firmware: "bios", secureBoot: false, machine: "pc" },
    nics: [{ mac: "00:50:56:8a:10:01", model: "virtio" }],
  },
  disks: ["/w/boot-0.qcow2", "/w/boot-1.qcow2"],
  ...{ cpus: 2, memoryMiB: 512, accelerator: "tcg", firmware: undefined, localTime: false },
  ...{ qmpSocket: "/w/qmp", lanSocket: "/w/lan" },
};
const text = (hardware: Partial<MachinePlan["hardware"]>, more: Partial<MachinePlan> = {}) =>
  qemuArguments({ ...plan, ...more, hardware: { ...plan.hardware, ...hardware } }).join(" ");

for (const [controller, machine, devices] of [
  ["virtio", "pc", ["virtio-blk-pci,drive=disk0,bootindex=1", "virtio-blk-pci,drive=disk1"]],
  ["scsi", "q35", ["scsi-hd,bus=scsi0.0,scsi-id=0,drive=disk0", "scsi-hd,bus=scsi0.0,scsi-id=1"]],
  ["sata", "q35", ["ide-hd,bus=ide.0,drive=disk0", "ide-hd,bus=ide.1,drive=disk1"]],
  ["sata", "pc", ["ich9-ahci,id=sata0", "ide-hd,bus=sata0.0", "ide-hd,bus=sata0.1"]],
  ["ide", "pc", ["ide-hd,bus=ide.0,unit=0,drive=disk0", "ide-hd,bus=ide.0,unit=1,drive=disk1"]],
] as const) {
  test(`disks at ${controller} of ${machine}, the first one to boot from`, () => {
    const line = text({ controller, machine });
    for (const device of devices) assert.ok(line.includes(device), `${device} in ${line}`);
    assert.equal(line.match(/bootindex/g)?.length, 1);
  });
}

test("a card has its MAC and its model, leads to our socket alone, and asks nobody for a boot", () => {
  assert.match(
    text({}),
    /stream,id=lan0,server=off,addr\.type=unix,addr\.path=\/w\/lan -device virtio-net-pci,netdev=lan0,mac=00:50:56:8a:10:01,romfile=$/,
  );
  assert.match(text({ nics: [{ mac: "00:50:56:00:00:01", model: "e1000" }] }), /e1000,netdev=lan0/);
  assert.equal(text({}).match(/-netdev/g)?.length, 1);
});

test("UEFI has its code read-only and an NVRAM of its own; Secure Boot locks it", () => {
  const files = { code: "/f/code.fd", nvram: "/w/nvram.fd", secure: true };
  const line = text({ firmware: "uefi", secureBoot: true, machine: "q35" }, { firmware: files });
  assert.match(line, /-machine q35,accel=tcg,smm=on /);
  assert.match(line, /unit=0,format=raw,readonly=on,file=\/f\/code\.fd/);
  assert.match(line, /unit=1,format=raw,file=\/w\/nvram\.fd/);
  assert.match(line, /cfi\.pflash01,property=secure,value=on/);
});

test("a comma in a path stays in the path", () => {
  assert.match(text({}, { lanSocket: "/w,x/lan" }), /addr\.path=\/w,,x\/lan/);
});

test("the guest's programs are held in QEMU's sandbox", () => {
  assert.match(text({}), /-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny/);
});
