// Repairs and facts on a disk laid out as a distribution does it that no test guest here has: in the real
// libguestfs, started once.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { checkGuest } from "../../src/guest/checks/checks.ts";
import { makeWorkFolder } from "../../src/guest/guest.ts";
import { Guestfish } from "../../src/guest/guestfish/guestfish.ts";
import type { Inspected } from "../../src/guest/inspect/inspect.ts";
import { repairGuest } from "../../src/guest/repairs/repairs.ts";
import { createLogger } from "../../src/logger.ts";
import { tempDir } from "../temp-dir.ts";

const logger = createLogger({ level: "silent", pretty: false });
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
  "/etc/fstab":
    "/dev/sda2 / xfs defaults 0 0\n/dev/sda3 none swap defaults 0 0\n/dev/sdd1 /gone ext4 nofail 0 0\n",
  "/etc/sysconfig/network-scripts/ifcfg-ens192": "DEVICE=ens192\nBOOTPROTO=none\n",
  "/etc/sysconfig/network-scripts/ifcfg-ens224": `DEVICE=ens224\nHWADDR=${nics[0]!.mac}\n`,
  "/usr/lib/systemd/systemd-udevd": "",
  "/usr/lib/virt-sysprep/scripts/5000-0001-install": "",
  "/usr/lib/virt-sysprep/scripts/4000-0001-other": "",
  "/etc/systemd/system/multi-user.target.wants/vmtoolsd.service": "",
  "/etc/systemd/system/multi-user.target.wants/sshd.service": "",
};

/** With the drivers that are asked for. */
async function makeInitrd(folder: string, modules: readonly string[]): Promise<Buffer> {
  const names = modules.map((name) => `usr/lib/modules/${release}/kernel/${name}.ko.xz`);
  for (const name of names) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), "");
  }
  const input = `${names.join("\n")}\n`;
  return spawnSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd: folder, input }).stdout;
}

test("a guest laid out as Enterprise Linux: its menu, its tables, its cards and its loader are mended, then it boots", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const path = join(folder.path, "disk.qcow2");
  await promisify(execFile)("qemu-img", ["create", "-q", "-f", "qcow2", path, "256M"]);
  const initrd = join(folder.path, "initrd.img");
  await writeFile(
    initrd,
    await makeInitrd(folder.path, ["virtio_blk", "virtio_scsi", "sd_mod", "ext4"]),
  );
  const signal = new AbortController().signal;
  const disk = { diskId: "disk-2000", uri: "nbd://h/x", capacityBytes: 1 };
  const options = { work, logger, signal, forceTcg: true };
  await using guestfish = await Guestfish.open([{ disk, path }], options);
  const run = (line: string) => guestfish.run(...(line.split(" ") as [string, ...string[]]));
  for (const line of [
    ...[
      "part-init /dev/sda gpt",
      "part-add /dev/sda p 2048 67583",
      "part-add /dev/sda p 67584 400000",
    ],
    ...["part-add /dev/sda p 401408 500000", "mkfs vfat /dev/sda1", "mkfs ext4 /dev/sda2"],
    "part-set-gpt-type /dev/sda 1 C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    ...["mkswap /dev/sda3", "mount /dev/sda2 /", "mkdir-p /boot/efi", "mount /dev/sda1 /boot/efi"],
    ...["mkdir-p /etc/systemd/network", "setxattr security.selinux etc_t 5 /etc/systemd/network"],
  ]) {
    await run(line);
  }
  for (const [name, content] of Object.entries(files)) {
    await run(`mkdir-p ${dirname(name)}`);
    await guestfish.writeFile(name, content);
  }
  await run(`upload ${initrd} /boot/initramfs-${release}.img`);
  const inspected: Inspected = {
    system: { os: "linux", distro: "rhel" },
    root: "/dev/sda2",
    mounts: new Map(),
    mounted: new Set(["/"]),
  };

  const repairs = await repairGuest({ guestfish, inspected, hardware, logger });

  const uuid = async (device: string) => (await run(`vfs-uuid ${device}`)).trim();
  const [root, swap] = [await uuid("/dev/sda2"), await uuid("/dev/sda3")];
  assert.equal(
    await guestfish.readText("/etc/fstab"),
    `UUID=${root} / xfs defaults 0 0\nUUID=${swap} none swap defaults 0 0\n/dev/sdd1 /gone ext4 nofail 0 0\n`,
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
    assert.equal((await run(`getxattr ${link} security.selinux`)).trim(), "etc_t");
  }
  assert.equal((await run("ls /usr/lib/virt-sysprep/scripts")).trim(), "4000-0001-other");
  assert.equal(
    (await run("ls /etc/systemd/system/multi-user.target.wants")).trim(),
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
  await writeFile(initrd, await makeInitrd(folder.path, ["vmw_pvscsi", "sd_mod", "ext4"]));
  await run(`upload ${initrd} /boot/initramfs-${release}.img`);
  const { findings } = await checkGuest(guestfish, inspected, hardware);
  assert.match(findings.map(({ text }) => text).join("\n"), /has an initrd that lacks virtio_blk/);
});
