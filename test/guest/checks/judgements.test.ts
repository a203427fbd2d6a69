import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeLinux } from "../../../src/guest/checks/linux.ts";
import { judgeMachine, type MachineFacts } from "../../../src/guest/checks/machine.ts";
import { judgeWindows } from "../../../src/guest/checks/windows.ts";
import { type Finding, verdictOf } from "../../../src/guest/conversion.ts";
import { isMapped, type LinuxFacts } from "../../../src/guest/inspect/linux-facts.ts";
import type { WindowsFacts } from "../../../src/guest/inspect/windows-facts.ts";

const linux: LinuxFacts = {
  entry: {
    title: "Linux",
    kernel: "/boot/vmlinuz-6.1",
    release: "6.1",
    initrds: ["/boot/initrd-6.1"],
    options: "root=UUID=1111-AA ro",
  },
  initrdModules: new Set(["virtio_blk", "virtio_scsi", "sd_mod", "ext4"]),
  builtinModules: new Set(["virtio_pci"]),
  installedModules: new Set(["virtio_net"]),
  namedDevices: [],
  rootFileSystem: "ext4",
  rootIsMapped: false,
  rootIsEncrypted: false,
  uuids: new Set(["1111-aa"]),
};
const texts = (findings: readonly Finding[]) =>
  findings.map(({ level, text }) => `${level}: ${text}`);

test("a kernel with its drivers in the initrd or built in boots on virtio", () => {
  assert.deepEqual(judgeLinux(linux), { controller: "virtio", nicModel: "virtio", findings: [] });
});

test("a root in LUKS needs an initrd with its driver, and with what opens it", () => {
  const encrypted = { ...linux, rootIsMapped: true, rootIsEncrypted: true };
  const modules = [...linux.initrdModules!, "dm_mod", "dm_crypt"];
  const whole = { ...encrypted, initrdModules: new Set(modules), initrdOpensLuks: true };
  assert.deepEqual(judgeLinux(whole).findings, []);
  const unopened = judgeLinux({ ...whole, initrdOpensLuks: false }).findings;
  assert.deepEqual(texts(unopened), [
    "will-not-boot: the initrd of 6.1 has nothing that opens the root's LUKS",
  ]);
  const withoutDriver = judgeLinux({ ...whole, initrdModules: new Set(modules.slice(0, -1)) });
  assert.deepEqual(texts(withoutDriver.findings), [
    "will-not-boot: the initrd of 6.1 lacks dm_crypt, which the root needs",
  ]);
});

test("a name that could not be changed makes the disks SCSI, which keeps it", () => {
  const namedDevices = [{ file: "/etc/lvm/lvm.conf", name: "/dev/sda", needed: true }];
  assert.deepEqual(judgeLinux({ ...linux, namedDevices }), {
    ...{ controller: "scsi", nicModel: "virtio", findings: [] },
  });
  const withoutScsi = { ...linux, namedDevices, initrdModules: new Set(["virtio_blk", "ext4"]) };
  const { controller, findings } = judgeLinux(withoutScsi);
  assert.equal(controller, "virtio");
  assert.match(
    texts(findings).join(),
    /will-not-boot: .*lvm.conf names \/dev\/sda, which is not there/,
  );
});

test("a name that nothing hangs on is to be looked at, once", () => {
  const place = { file: "/etc/fstab", name: "/dev/sdb1", needed: false };
  const { controller, findings } = judgeLinux({ ...linux, namedDevices: [place, place] });
  assert.equal(controller, "virtio");
  assert.deepEqual(texts(findings), [
    "look: /etc/fstab names /dev/sdb1, which is not there with virtio",
  ]);
});

test("a kernel without a driver falls back to another controller, and without any it will not boot", () => {
  const old = { ...linux, initrdModules: new Set(["ahci", "sd_mod", "ext4"]) };
  assert.equal(judgeLinux(old).controller, "sata");
  const vmware = { ...linux, initrdModules: new Set(["vmw_pvscsi", "sd_mod", "ext4"]) };
  assert.match(
    texts(judgeLinux(vmware).findings).join(),
    /will-not-boot: 6.1 has an initrd that lacks virtio_blk/,
  );
  const { initrdModules: _, ...without } = linux;
  assert.match(
    texts(judgeLinux(without).findings).join(),
    /boots without an initrd that lacks virtio_blk/,
  );
});

test("the root needs its file system and the device mapper in the initrd", () => {
  const facts = { ...linux, rootFileSystem: "xfs", rootIsMapped: true };
  assert.deepEqual(texts(judgeLinux(facts).findings), [
    "will-not-boot: the initrd of 6.1 lacks xfs, which the root needs",
    "will-not-boot: the initrd of 6.1 lacks dm_mod, which the root needs",
  ]);
});

test("a root on a volume or in a LUKS container is mapped, one on a partition, a RAID or a subvolume is not", () => {
  const mapped = ["/dev/vg0/root", "/dev/mapper/luks-1", "btrfsvol:/dev/vg0/root/@"];
  const plain = ["/dev/sda1", "/dev/sdb", "/dev/md127", "btrfsvol:/dev/sda2/@/root"];
  assert.deepEqual([...mapped, ...plain].filter(isMapped), mapped);
});

test("a root that is on none of the disks, a kernel and an initrd that are not there", () => {
  const entry = { ...linux.entry!, options: "root=UUID=9999" };
  assert.match(
    texts(judgeLinux({ ...linux, entry }).findings).join(),
    /will-not-boot: .*UUID=9999.*none of the disks/,
  );
  const { kernel: _, ...gone } = { ...linux.entry!, missing: "/vmlinuz-7" };
  assert.match(
    texts(judgeLinux({ ...linux, entry: gone }).findings).join(),
    /will-not-boot: .*\/vmlinuz-7, is not there/,
  );
  const { initrdModules: __, ...unread } = linux;
  const noInitrd = { ...unread, initrdProblem: "/boot/initrd-6.1 is not there" };
  assert.equal(verdictOf(judgeLinux(noInitrd).findings), "will-not-boot");
  const packed = { ...unread, initrdProblem: "/boot/initrd-6.1 cannot be read: lrzip" };
  assert.equal(verdictOf(judgeLinux(packed).findings), "look");
});

test("a boot menu that is not known is to be looked at", () => {
  const { entry: _, initrdModules: __, ...facts } = linux;
  assert.match(texts(judgeLinux(facts).findings).join(), /^look: the boot menu is none of GRUB 2/);
});

const windows: WindowsFacts = {
  drivers: [{ name: "viostor", start: 0, hasFile: true, isBound: true }],
  hasNetDriver: true,
  build: 20_348,
  hibernated: false,
};

test("Windows boots with a driver that starts at boot, is there and is bound to the device", () => {
  assert.deepEqual(judgeWindows(windows), {
    ...{ controller: "virtio", nicModel: "virtio", machine: "pc", findings: [] },
  });
  const [driver] = windows.drivers;
  for (const [change, text] of [
    [{ start: 3 }, /viostor is not started at boot \(Start is 3\)/],
    [{ hasFile: false }, /viostor.sys is not there/],
    [{ isBound: false }, /viostor is bound to no device/],
  ] as const) {
    const { findings } = judgeWindows({ ...windows, drivers: [{ ...driver!, ...change }] });
    assert.match(texts(findings).join(), text);
    assert.equal(verdictOf(findings), "will-not-boot");
  }
  const none = judgeWindows({ ...windows, drivers: [], hasNetDriver: false });
  assert.match(texts(none.findings).join(), /will-not-boot: Windows has no virtio driver/);
  assert.deepEqual([none.controller, none.nicModel], ["sata", "e1000"]);
});

test("Windows that has vioscsi alone gets virtio-scsi; one of 2025 gets the newer chip set", () => {
  const drivers = [{ ...windows.drivers[0]!, name: "vioscsi" as const }];
  assert.equal(judgeWindows({ ...windows, drivers }).controller, "scsi");
  assert.equal(judgeWindows({ ...windows, build: 26_100 }).machine, "q35");
});

test("Windows that is hibernated will not boot", () => {
  assert.equal(verdictOf(judgeWindows({ ...windows, hibernated: true }).findings), "will-not-boot");
});

const machine: MachineFacts = {
  firmware: "bios",
  secureBoot: false,
  hasEsp: false,
  hasFallback: false,
  hasBootCode: true,
  bootFilesOn: ["/dev/sda"],
  free: [{ mountPoint: "/", bytes: 1 << 30 }],
  unknownNics: [],
};

test("what the boot loader reads lies on the first disk, or is to be looked at", () => {
  assert.deepEqual(judgeMachine({ ...machine, bootFilesOn: [] }), [], "a RAID, say");
  const two = judgeMachine({ ...machine, bootFilesOn: ["/dev/sda", "/dev/sdb"] });
  assert.match(texts(two).join(), /^look: \/boot lies on disk 1 and 2, .*the first disk alone/);
  const other = judgeMachine({ ...machine, bootFilesOn: ["/dev/sdc"] });
  assert.match(texts(other).join(), /^look: \/boot lies on disk 3, /);
});

test("boot loader and firmware have to fit", () => {
  assert.deepEqual(judgeMachine(machine), []);
  const uefi = { ...machine, firmware: "uefi" as const, hasBootCode: false, hasEsp: true };
  assert.deepEqual(judgeMachine({ ...uefi, hasFallback: true }), []);
  const cases: readonly [MachineFacts, RegExp][] = [
    [{ ...machine, hasBootCode: false }, /no boot code for a BIOS$/],
    [{ ...machine, hasBootCode: false, hasEsp: true }, /is the machine one with UEFI\?/],
    [uefi, /BOOTX64.EFI is not there/],
    [{ ...uefi, hasEsp: false }, /no disk has an EFI system partition$/],
    [{ ...uefi, hasEsp: false, hasBootCode: true }, /is the machine one with BIOS\?/],
  ];
  for (const [facts, text] of cases) {
    assert.match(texts(judgeMachine(facts)).join(), text);
    assert.equal(verdictOf(judgeMachine(facts)), "will-not-boot");
  }
});

test("little room and cards that nobody knows are to be looked at", () => {
  const free = [
    { mountPoint: "/", bytes: 1 << 20 },
    { mountPoint: "/boot", bytes: 5 << 20 },
  ];
  assert.deepEqual(texts(judgeMachine({ ...machine, free })), ["look: / has only 1 MiB left"]);
  const findings = judgeMachine({ ...machine, unknownNics: ["ens192"] });
  assert.match(texts(findings).join(), /^look: ens192/);
});
