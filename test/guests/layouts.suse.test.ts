// A disk laid out as SUSE's installer does it: Btrfs with subvolumes, wicked's ifcfg files, a persistent rule, an initrd
// of dracut. Nothing of it was started.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkGuest } from "../../src/guest/checks/checks.ts";
import { inspectGuest } from "../../src/guest/inspect/inspect.ts";
import { repairGuest } from "../../src/guest/repairs/repairs.ts";
import { Layout, logger } from "./layout.ts";

const release = "5.14.21-150500.53-default";
const nics = ["00:50:56:8a:31:01", "00:50:56:8a:31:02"].map((mac) => ({ mac, addresses: [] }));
const hardware = {
  ...{ name: "sles", firmware: "uefi" as const, secureBoot: false, cpus: 1, memoryMiB: 512 },
  nics,
};
const kernel = `/boot/vmlinuz-${release}`;

const files: Readonly<Record<string, string>> = {
  "/etc/os-release": 'ID="sles"\nVERSION_ID="15.5"\nPRETTY_NAME="laid out as SLES"\n',
  "/bin/sh": "",
  "/etc/fstab":
    "/dev/sda2 / btrfs defaults 0 0\n/dev/sda2 /home btrfs subvol=/@/home 0 0\n/dev/sda3 swap swap defaults 0 0\n",
  "/boot/grub2/grub.cfg": `set default="0"
menuentry 'SLES 15-SP5' --class sles {
  linux ${kernel} root=/dev/sda2 splash=silent resume=/dev/sda3 quiet
  initrd /boot/initrd-${release}
}
`,
  "/boot/grub2/grubenv": "# GRUB Environment Block\n".padEnd(1024, "#"),
  "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="splash=silent resume=/dev/sda3 quiet"\n',
  [kernel]: "kernel",
  [`/lib/modules/${release}/modules.builtin`]: "kernel/drivers/virtio/virtio_pci.ko\n",
  [`/lib/modules/${release}/modules.dep`]: "kernel/drivers/net/virtio_net.ko.zst:\n",
  "/etc/sysconfig/network/ifcfg-eth0": "BOOTPROTO='static'\nIPADDR='192.0.2.60/24'\n",
  "/etc/sysconfig/network/ifcfg-ens224": "BOOTPROTO='static'\nIPADDR='192.0.2.61/24'\n",
  "/etc/sysconfig/network/ifcfg-lo": "IPADDR=127.0.0.1/8\n",
  "/etc/udev/rules.d/70-persistent-net.rules": `SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="${nics[0]!.mac}", ATTR{dev_id}=="0x0", ATTR{type}=="1", KERNEL=="eth*", NAME="eth0"\n`,
  "/usr/lib/systemd/systemd-udevd": "",
  "/usr/lib/systemd/system/wicked.service": "",
};

test("a guest laid out as SUSE: subvolumes, ifcfg files and its loader are mended, then it boots", async () => {
  await using layout = await Layout.open("512M");
  const { guestfish } = layout;
  for (const line of [
    ...["part-init /dev/sda gpt", "part-add /dev/sda p 2048 67583"],
    ...["part-add /dev/sda p 67584 900000", "part-add /dev/sda p 901120 1000000"],
    "part-set-gpt-type /dev/sda 1 C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    ...["mkfs vfat /dev/sda1", "mkfs btrfs /dev/sda2", "mkswap /dev/sda3"],
    ...["mount /dev/sda1 /", "mkdir-p /EFI/sles", "upload /etc/hostname /EFI/sles/shim.efi"],
    ...["upload /etc/hostname /EFI/sles/grub.efi", "umount-all"],
    ...["mount /dev/sda2 /", "btrfs-subvolume-create /@", "btrfs-subvolume-create /@/home"],
    ...["mkdir-p /@/.snapshots/1", "btrfs-subvolume-create /@/.snapshots/1/snapshot"],
    // Who mounts the device gets the snapshot: subvolumes are numbered from 256 on.
    ...["btrfs-subvolume-set-default 258 /", "umount-all", "mount /dev/sda2 /"],
  ]) {
    await layout.run(line);
  }
  await layout.write(files);
  const modules = ["virtio_blk", "virtio_scsi", "sd_mod", "btrfs"].map(
    (name) => `usr/lib/modules/${release}/kernel/${name}.ko.zst`,
  );
  await layout.writeInitrd(`/boot/initrd-${release}`, modules, ["zstd", "-q", "-c"]);
  await layout.run("umount-all");

  const inspected = await inspectGuest(guestfish);
  assert.equal(inspected.root, "/dev/sda2");
  assert.deepEqual([inspected.system.distro, inspected.system.version], ["sles", "15.5"]);
  const repairs = await repairGuest({ guestfish, inspected, hardware, logger });

  const [root, swap] = [await layout.uuid("/dev/sda2"), await layout.uuid("/dev/sda3")];
  assert.equal(
    await guestfish.readText("/etc/fstab"),
    `UUID=${root} / btrfs defaults 0 0\nUUID=${root} /home btrfs subvol=/@/home 0 0\nUUID=${swap} swap swap defaults 0 0\n`,
  );
  assert.match(
    (await guestfish.readText("/boot/grub2/grub.cfg")) ?? "",
    new RegExp(`root=UUID=${root} splash=silent resume=UUID=${swap} quiet`),
  );
  // The rule keeps the name of the first card; the other one's is pinned.
  assert.equal(await guestfish.readText("/etc/systemd/network/10-migratekit-eth0.link"), undefined);
  assert.match(
    (await guestfish.readText("/etc/systemd/network/10-migratekit-ens224.link")) ?? "",
    new RegExp(`MACAddress=${nics[1]!.mac}[^]*Name=ens224\n`),
  );
  const names = repairs.map(({ name }) => name);
  assert.deepEqual([...new Set(names)].sort(), ["device-names", "efi-boot", "nic-names"]);
  const checked = await checkGuest(guestfish, inspected, hardware);
  assert.deepEqual(checked.findings, []);
  assert.deepEqual(
    [checked.hardware.controller, checked.hardware.machine, checked.hardware.nics[0]!.model],
    ["virtio", "q35", "virtio"],
  );
});
