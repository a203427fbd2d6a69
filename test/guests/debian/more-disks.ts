// Disks of the guests that are not for every day: /boot beside LVM, Btrfs, LUKS.

import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { copyInto, emptyDisk, installGrub, makeEsp } from "./disks.ts";
import {
  bootBytes,
  espBytes,
  fileSystemBytes,
  type GuestRecipe,
  luksKey,
  luksUuid,
  mebibyte,
  subvolume,
} from "./recipe.ts";
import { run } from "./run.ts";

const sectors = (bytes: number): number => bytes / 512;
const luksHeaderBytes = 16 * mebibyte;
/** A key that is made slowly would be opened slowly too, by every guest and every conversion. */
const luksOptions = [
  ...["--batch-mode", "--type", "luks2", "--key-file", "-"],
  ...["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"],
];
const biosBootType = "21686148-6449-6E6F-744E-656564454649";

/** GPT with a partition for GRUB's core, /boot, and LVM's; a second disk that is LVM's as a whole. */
export async function makeLvmBootDisks(recipe: GuestRecipe, folder: string): Promise<string[]> {
  const disks = [await emptyDisk(recipe, 0, folder), await emptyDisk(recipe, 1, folder)];
  const [first, second] = disks as [string, string];
  const table = [
    "label: gpt",
    `start=2048, size=${sectors(mebibyte)}, type=${biosBootType}`,
    `size=${sectors(bootBytes)}, type=L`,
    "type=V",
  ];
  await run("sfdisk", ["--quiet", first], `${table.join("\n")}\n`);
  await installGrub(first, "(hd0,gpt2)/grub", 2048, folder);
  await copyInto(join(folder, `${recipe.name}-boot.img`), first, 2 * mebibyte);
  await guestfish([
    `add ${first} format:raw cachemode:unsafe`,
    `add ${second} format:raw cachemode:unsafe`,
    `add ${join(folder, `${recipe.name}.img`)} format:raw readonly:true`,
    ...["run", "pvcreate /dev/sda3", "pvcreate /dev/sdb"],
    'vgcreate ubuntu-vg "/dev/sda3 /dev/sdb"',
    "lvcreate-free ubuntu-lv ubuntu-vg 100",
    "copy-device-to-device /dev/sdc /dev/ubuntu-vg/ubuntu-lv sparse:true",
  ]);
  return disks;
}

/** The ESP with GRUB in EFI/debian, and Btrfs whose files are all in a subvolume. */
export async function makeBtrfsDisk(recipe: GuestRecipe, folder: string): Promise<string[]> {
  const disk = await emptyDisk(recipe, 0, folder);
  const table = `label: gpt\nstart=2048, size=${sectors(espBytes)}, type=U\ntype=L\n`;
  await run("sfdisk", ["--quiet", disk], table);
  await copyInto(
    await makeEsp(recipe, folder, `/${subvolume}/boot/grub`, ["btrfs"]),
    disk,
    mebibyte,
  );
  await copyInto(join(folder, `${recipe.name}.img`), disk, mebibyte + espBytes);
  const folders =
    "bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv";
  const all = [...folders.split(" "), "sys", "tmp", "usr", "var"];
  await guestfish([
    `add ${disk} format:raw cachemode:unsafe`,
    ...["run", "mount /dev/sda2 /", "btrfs-filesystem-resize /"],
    `btrfs-subvolume-snapshot / /${subvolume}`,
    ...all.map((name) => `rm-rf /${name}`),
    "umount-all",
  ]);
  return [disk];
}

/** MBR with /boot in the clear, and LUKS. */
export async function makeLuksDisk(recipe: GuestRecipe, folder: string): Promise<string[]> {
  const disk = await emptyDisk(recipe, 0, folder);
  const table = [
    ...["label: dos", "label-id: 0x6d6b0005"],
    ...[`start=2048, size=${sectors(bootBytes)}, type=83, bootable`, "type=83"],
  ];
  await run("sfdisk", ["--quiet", disk], `${table.join("\n")}\n`);
  await installGrub(disk, "(hd0,msdos1)/grub", 1, folder);
  await copyInto(join(folder, `${recipe.name}-boot.img`), disk, mebibyte);
  const luks = join(folder, "luks-container.img");
  await writeFile(luks, "");
  await truncate(luks, fileSystemBytes + luksHeaderBytes);
  await run("cryptsetup", ["luksFormat", ...luksOptions, "--uuid", luksUuid, luks], luksKey);
  await copyInto(luks, disk, mebibyte + bootBytes);
  await guestfish(
    [
      `add ${disk} format:raw cachemode:unsafe`,
      `add ${join(folder, `${recipe.name}.img`)} format:raw readonly:true`,
      "run",
      // The key that is asked for is the next line.
      ...["cryptsetup-open /dev/sda2 root", luksKey],
      "copy-device-to-device /dev/sdb /dev/mapper/root sparse:true",
      "cryptsetup-close /dev/mapper/root",
    ],
    ["--keys-from-stdin"],
  );
  return [disk];
}

async function guestfish(commands: readonly string[], options: readonly string[] = []) {
  await run("guestfish", options, `${commands.join("\n")}\n`);
}
