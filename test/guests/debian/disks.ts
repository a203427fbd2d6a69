// Disks around the file systems: partition tables, boot loaders and the ESP, without a hypervisor.

import { mkdir, open, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { espBytes, espUuid, type GuestRecipe, mebibyte } from "./recipe.ts";
import { run } from "./run.ts";

const modules = [
  ...["part_msdos", "part_gpt", "ext2", "lvm", "normal", "linux", "configfile"],
  ...["search", "search_fs_uuid", "serial", "echo", "test", "minicmd"],
];
const sectorBytes = 512;

/** One partition from the first MiB on; GRUB's first sector and its core before it. */
export async function makeBiosDisk(recipe: GuestRecipe, folder: string): Promise<string[]> {
  const disk = await emptyDisk(recipe, 0, folder);
  await run(
    "sfdisk",
    ["--quiet", disk],
    "label: dos\nlabel-id: 0x6d6b0001\nstart=2048, type=83, bootable\n",
  );
  await installGrub(disk, "(hd0,msdos1)/boot/grub", 1, folder);
  await copyInto(join(folder, `${recipe.name}.img`), disk, mebibyte);
  return [disk];
}

/**
 * GRUB's first sector, told where its core is: from this sector on. As both come, that is sector 1; the core's own
 * first sector then reads on from 2.
 */
export async function installGrub(disk: string, prefix: string, sector: number, folder: string) {
  const core = join(folder, "core.img");
  await run("grub-mkimage", ["-O", "i386-pc", "-o", core, "-p", prefix, "biosdisk", ...modules]);
  const [boot, image] = [await readFile("/usr/lib/grub/i386-pc/boot.img"), await readFile(core)];
  if (image.length > mebibyte - sectorBytes) throw new Error("GRUB's core is too large");
  boot.writeBigUInt64LE(BigInt(sector), 0x5c);
  image.writeBigUInt64LE(BigInt(sector + 1), 0x1f4);
  await using file = await open(disk, "r+");
  // It is to leave the table that follows it alone.
  await file.write(boot, 0, 440, 0);
  await file.write(image, 0, image.length, sector * sectorBytes);
}

/** The ESP with GRUB in EFI/debian, a partition for LVM behind it, and a disk that is LVM's as a whole. */
export async function makeUefiDisks(recipe: GuestRecipe, folder: string): Promise<string[]> {
  const disks = [await emptyDisk(recipe, 0, folder), await emptyDisk(recipe, 1, folder)];
  const table = `label: gpt\nstart=2048, size=${espBytes / 512}, type=U\ntype=V\n`;
  await run("sfdisk", ["--quiet", disks[0]!], table);
  const esp = await makeEsp(recipe, folder);
  await copyInto(esp, disks[0]!, mebibyte);
  await makeVolumes(recipe, disks, folder);
  return disks;
}

/** @param grubFolder on the root's file system */
export async function makeEsp(
  { rootUuid }: GuestRecipe,
  folder: string,
  grubFolder = "/boot/grub",
  more: readonly string[] = [],
): Promise<string> {
  const esp = join(folder, "esp.img");
  await writeFile(esp, "");
  await truncate(esp, espBytes);
  await run("mformat", ["-i", esp, "-F", "-N", espUuid.replace("-", ""), "-H", "2048", "::"]);
  const grub = join(folder, "grubx64.efi");
  const all = ["fat", "all_video", ...modules, ...more];
  await run("grub-mkimage", ["-O", "x86_64-efi", "-o", grub, "-p", "/EFI/debian", ...all]);
  const menu = join(folder, "grub.cfg");
  await writeFile(
    menu,
    `search --no-floppy --fs-uuid --set=root ${rootUuid}\nset prefix=($root)${grubFolder}\nconfigfile $prefix/grub.cfg\n`,
  );
  await run("mmd", ["-i", esp, "::/EFI", "::/EFI/debian"]);
  await run("mcopy", ["-i", esp, grub, menu, "::/EFI/debian/"]);
  return esp;
}

/** In libguestfs's appliance, as a device mapper of this machine may not be at hand. */
async function makeVolumes(recipe: GuestRecipe, disks: readonly string[], folder: string) {
  const source = join(folder, `${recipe.name}.img`);
  const commands = [
    ...disks.map((disk) => `add ${disk} format:raw cachemode:unsafe`),
    `add ${source} format:raw readonly:true`,
    "run",
    "pvcreate /dev/sda2",
    "pvcreate /dev/sdb",
    'vgcreate vg0 "/dev/sda2 /dev/sdb"',
    "lvcreate-free root vg0 100",
    "copy-device-to-device /dev/sdc /dev/vg0/root sparse:true",
    "resize2fs /dev/vg0/root",
  ];
  await run("guestfish", [], `${commands.join("\n")}\n`);
}

export async function emptyDisk(
  recipe: GuestRecipe,
  index: number,
  folder: string,
): Promise<string> {
  const out = join(folder, "disks");
  await mkdir(out, { recursive: true });
  const path = join(out, `${recipe.name}-${index}.raw`);
  await writeFile(path, "");
  await truncate(path, recipe.diskBytes[index]!);
  return path;
}

export async function copyInto(from: string, to: string, offset: number): Promise<void> {
  const place = [`of=${to}`, "bs=1M", `seek=${offset / mebibyte}`];
  await run("dd", [`if=${from}`, ...place, "conv=notrunc,sparse", "status=none"]);
}
