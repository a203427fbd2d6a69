// Repairs and facts on disks laid out as distributions do it that no test guest here has. Nothing of them was started.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkGuest } from "../../src/guest/checks/checks.ts";
import { inspectGuest } from "../../src/guest/inspect/inspect.ts";
import { repairGuest } from "../../src/guest/repairs/repairs.ts";
import { Layout, logger } from "./layout.ts";

const release = "5.14.0-427.el9.x86_64";
const nics = ["00:50:56:8a:30:01", "00:50:56:8a:30:02"].map((mac) => ({ mac, addresses: [] }));
const hardware = {
  ...{ name: "el", firmware: "uefi" as const, secureBoot: true, cpus: 1, memoryMiB: 512 },
  nics,
};
const environment = `# GRUB Environment Block
saved_entry=m-${release}
kernelopts=root=/dev/sdc2 ro resume=/dev/sda3
`.padEnd(1024, "#");

/** As Enterprise Linux has it with UEFI: the menu on the EFI system partition, an entry for each kernel. */
const files: Readonly<Record<string, string>> = {
  "/boot/efi/EFI/redhat/shimx64.efi": "shim",
  "/boot/efi/EFI/redhat/grubx64.efi": "grub",
  "/boot/efi/EFI/redhat/grub.cfg": "blscfg\n",
  "/boot/efi/EFI/redhat/grubenv": environment,
  [`/boot/loader/entries/m-${release}.conf`]: `title EL\nversion ${release}\nlinux /boot/vmlinuz-${release}\ninitrd /boot/initramfs-${release}.img $tuned_initrd\noptions $kernelopts\n`,
  [`/boot/vmlinuz-${release}`]: "kernel",
  [`/lib/modules/${release}/modules.builtin`]: "kernel/drivers/virtio/virtio_pci.ko\n",
  [`/lib/modules/${release}/modules.dep`]: "kernel/drivers/net/virtio_net.ko.xz:\n",
  "/etc/os-release": 'ID="rhel"\nVERSION_ID="9.4"\nPRETTY_NAME="laid out as EL"\n',
  "/bin/sh": "",
  "/etc/fstab":
    "/dev/sda2 / xfs defaults 0 0\n/dev/sda3 none swap defaults 0 0\nLABEL=ESP /boot/efi vfat defaults 0 2\n/dev/sdd1 /gone ext4 nofail 0 0\n",
  "/etc/sysconfig/network-scripts/ifcfg-ens192": "DEVICE=ens192\nBOOTPROTO=none\n",
  "/etc/sysconfig/network-scripts/ifcfg-ens224": `DEVICE=ens224\nHWADDR=${nics[0]!.mac}\n`,
  "/usr/lib/systemd/systemd-udevd": "",
  "/usr/lib/virt-sysprep/scripts/5000-0001-install": "",
  "/usr/lib/virt-sysprep/scripts/4000-0001-other": "",
  "/etc/systemd/system/multi-user.target.wants/vmtoolsd.service": "",
  "/etc/systemd/system/multi-user.target.wants/sshd.service": "",
};

const modulesOf = (names: readonly string[]) =>
  names.map((name) => `usr/lib/modules/${release}/kernel/${name}.ko.xz`);

test("a guest laid out as Enterprise Linux: its menu, its tables, its cards and its loader are mended, then it boots", async () => {
  await using layout = await Layout.open("256M");
  const { guestfish } = layout;
  for (const line of [
    ...[
      "part-init /dev/sda gpt",
      "part-add /dev/sda p 2048 67583",
      "part-add /dev/sda p 67584 400000",
    ],
    ...[
      "part-add /dev/sda p 401408 500000",
      "mkfs vfat /dev/sda1 label:ESP",
      "mkfs ext4 /dev/sda2",
    ],
    "part-set-gpt-type /dev/sda 1 C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    ...["mkswap /dev/sda3", "mount /dev/sda2 /", "mkdir-p /boot/efi", "mount /dev/sda1 /boot/efi"],
    ...["mkdir-p /etc/systemd/network", "setxattr security.selinux etc_t 5 /etc/systemd/network"],
  ]) {
    await layout.run(line);
  }
  await layout.write(files);
  const initrd = `/boot/initramfs-${release}.img`;
  const drivers = ["virtio_blk", "virtio_scsi", "sd_mod", "ext4"];
  await layout.writeInitrd(initrd, modulesOf(drivers));
  await layout.run("umount-all");
  const inspected = await inspectGuest(guestfish);
  assert.equal(inspected.system.distro, "rhel");

  const repairs = await repairGuest({ guestfish, inspected, hardware, logger });

  const [root, swap] = [await layout.uuid("/dev/sda2"), await layout.uuid("/dev/sda3")];
  assert.equal(
    await guestfish.readText("/etc/fstab"),
    `UUID=${root} / xfs defaults 0 0\nUUID=${swap} none swap defaults 0 0\nLABEL=ESP /boot/efi vfat defaults 0 2\n/dev/sdd1 /gone ext4 nofail 0 0\n`,
  );
  const mended = (await guestfish.readText("/boot/efi/EFI/redhat/grubenv")) ?? "";
  assert.equal(mended.length, 1024);
  assert.match(mended, new RegExp(`kernelopts=root=UUID=${root} ro resume=UUID=${swap}\n#`));
  assert.equal(await guestfish.readText("/boot/efi/EFI/BOOT/BOOTX64.EFI"), "shim");
  assert.equal(await guestfish.readText("/boot/efi/EFI/BOOT/grubx64.efi"), "grub");
  // The card of ens224 is told by its MAC, so ens192 is the other.
  for (const [name, { mac }] of [
    ["ens224", nics[0]!],
    ["ens192", nics[1]!],
  ] as const) {
    const link = `/etc/systemd/network/10-migratekit-${name}.link`;
    assert.match(
      (await guestfish.readText(link)) ?? "",
      new RegExp(`MACAddress=${mac}[^]*Name=${name}\n`),
    );
    assert.equal((await layout.run(`getxattr ${link} security.selinux`)).trim(), "etc_t");
  }
  assert.equal((await layout.run("ls /usr/lib/virt-sysprep/scripts")).trim(), "4000-0001-other");
  assert.equal(
    (await layout.run("ls /etc/systemd/system/multi-user.target.wants")).trim(),
    "sshd.service",
  );
  const names = repairs.map(({ name }) => name);
  assert.deepEqual([...new Set(names)].sort(), [
    ...["device-names", "efi-boot", "first-boot", "nic-names", "vmware-tools"],
  ]);

  const checked = await checkGuest(guestfish, inspected, hardware);
  assert.deepEqual(checked.findings, [
    {
      ...{ level: "look", source: "check" },
      text: "/etc/fstab names /dev/sdd1, which is not there with virtio",
    },
  ]);
  assert.equal(checked.hardware.controller, "virtio");
  assert.equal(checked.hardware.machine, "q35");

  assert.deepEqual(
    await repairGuest({ guestfish, inspected, hardware, logger }),
    [],
    "nothing is left to mend",
  );
  await layout.writeInitrd(initrd, modulesOf(["vmw_pvscsi", "sd_mod", "ext4"]));
  const { findings } = await checkGuest(guestfish, inspected, hardware);
  assert.match(findings.map(({ text }) => text).join("\n"), /has an initrd that lacks virtio_blk/);
});
