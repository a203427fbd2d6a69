// Phony Windows guests: enough of one for virt-v2v and for our checks to judge. They show which drivers are
// chosen, what is written to the registry and what is refused; they never boot.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../debian/run.ts";
import { makeHive } from "./hive.ts";
import { programHeader, type ReleaseName, releases, softwareHive, systemHive } from "./system.ts";

/** The states in which one may be met. */
const states = ["shut-down", "hibernated", "full"] as const;
export type State = (typeof states)[number];
const firmwares = ["bios", "uefi"] as const;

export interface PhonyWindows {
  readonly release: ReleaseName;
  readonly firmware: (typeof firmwares)[number];
  readonly state: State;
}

const address = "192.0.2.30";
const here = import.meta.dirname;
/** What the images are made by. */
const sources = ["hive.ts", "system.ts", "windows.ts"];
const cache = join(here, "../../../.lab/guests");
const mebibyte = 1024 * 1024;

/** Of the file system with Windows, by the appliance's name. */
export const windowsPartition = { bios: "/dev/sda1", uefi: "/dev/sda2" } as const;

/** A raw image, which is only to be read, made with all others of the release where they are not there yet. */
export async function phonyWindows({ release, firmware, state }: PhonyWindows): Promise<string> {
  const hash = createHash("sha256");
  for (const file of sources) hash.update(await readFile(join(here, file)));
  const folder = join(cache, `${release}-${hash.digest("hex").slice(0, 16)}`);
  if (!existsSync(folder)) await makeAll(release, folder);
  return join(folder, nameOf(firmware, state));
}

const nameOf = (firmware: PhonyWindows["firmware"], state: State) => `${firmware}-${state}.raw`;

/** Whoever is first puts his in place; a second one throws his away. */
async function makeAll(release: ReleaseName, folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, "making-"));
  try {
    await makeHive(join(work, "SYSTEM"), systemHive(address));
    await makeHive(join(work, "SOFTWARE"), softwareHive(releases[release]));
    await makeHive(join(work, "BCD"), [["Objects", {}]]);
    await writeFile(join(work, "cmd.exe"), programHeader());
    await writeFile(join(work, "hiberfil.sys"), Buffer.from(`hibr${"\0".repeat(4092)}`));
    const images = firmwares.flatMap((firmware) => states.map((state) => ({ firmware, state })));
    const script: string[] = [];
    for (const { firmware, state } of images) {
      const path = join(work, nameOf(firmware, state));
      await writeFile(path, "");
      await truncate(path, (state === "full" ? 96 : 320) * mebibyte);
      script.push(`add ${path} format:raw cachemode:unsafe`);
    }
    script.push("run");
    for (const [index, { firmware, state }] of images.entries()) {
      const disk = `/dev/sd${"abcdef"[index]}`;
      const partition = disk + windowsPartition[firmware].slice("/dev/sda".length);
      script.push(...(firmware === "bios" ? mbr(disk) : gpt(disk, work)));
      script.push(...windows(partition, state, work));
    }
    await run("guestfish", [], `${script.join("\n")}\n`);
    await rename(work, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** One partition, and something that passes for boot code. */
function mbr(disk: string): string[] {
  return [
    `part-init ${disk} mbr`,
    `part-add ${disk} p 2048 -2048`,
    `part-set-mbr-id ${disk} 1 7`,
    `part-set-bootable ${disk} 1 true`,
    `pwrite-device ${disk} "\\x33\\xc0\\x8e\\xd0" 0`,
  ];
}

/** The EFI system partition with Windows's own loader alone, which a new machine's firmware does not look for. */
function gpt(disk: string, work: string): string[] {
  return [
    `part-init ${disk} gpt`,
    `part-add ${disk} p 2048 67583`,
    `part-add ${disk} p 67584 -2048`,
    `part-set-gpt-type ${disk} 1 C12A7328-F81F-11D2-BA4B-00A0C93EC93B`,
    `part-set-gpt-type ${disk} 2 EBD0A0A2-B9E5-4433-87C0-68B6B72699C7`,
    `mkfs vfat ${disk}1`,
    `mount ${disk}1 /`,
    "mkdir-p /EFI/Microsoft/Boot",
    `upload ${work}/cmd.exe /EFI/Microsoft/Boot/bootmgfw.efi`,
    `upload ${work}/BCD /EFI/Microsoft/Boot/BCD`,
    "umount-all",
  ];
}

/** Enough of Windows on NTFS. */
function windows(partition: string, state: State, work: string): string[] {
  const folders = ["System32/config", "System32/drivers", "Temp", "inf"];
  return [
    `mkfs ntfs ${partition}`,
    `mount ${partition} /`,
    ...folders.map((folder) => `mkdir-p /Windows/${folder}`),
    'mkdir "/Program Files"',
    `upload ${work}/SYSTEM /Windows/System32/config/SYSTEM`,
    `upload ${work}/SOFTWARE /Windows/System32/config/SOFTWARE`,
    `upload ${work}/cmd.exe /Windows/System32/cmd.exe`,
    ...(state === "hibernated" ? [`upload ${work}/hiberfil.sys /hiberfil.sys`] : []),
    "umount-all",
  ];
}
