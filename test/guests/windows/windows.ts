// Phony Windows guests: enough of one for virt-v2v and for our checks to judge. They show which drivers are
// chosen, what is written to the registry and what is refused; they never boot.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { run } from "../debian/run.ts";
import { makeHive } from "./hive.ts";
import { programHeader, softwareHive, systemHive } from "./system.ts";

/** Server 2022 with BIOS, in the states in which it may be met. */
const states = ["shut-down", "hibernated", "full"] as const;
export type State = (typeof states)[number];

const address = "192.0.2.30";
const here = import.meta.dirname;
const cache = join(here, "../../../.lab/guests");
const mebibyte = 1024 * 1024;

/** A raw image, which is only to be read, made with all the others where they are not there yet. */
export async function phonyWindows(state: State): Promise<string> {
  const hash = createHash("sha256");
  for (const file of (await readdir(here)).sort()) {
    if (!file.endsWith(".test.ts")) hash.update(await readFile(join(here, file)));
  }
  const folder = join(cache, `windows-${hash.digest("hex").slice(0, 16)}`);
  if (!existsSync(folder)) await makeAll(folder);
  return join(folder, `${state}.raw`);
}

/** Whoever is first puts his in place; a second one throws his away. */
async function makeAll(folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, "making-"));
  try {
    await makeHive(join(work, "SYSTEM"), systemHive(address));
    await writeFile(join(work, "cmd.exe"), programHeader());
    await writeFile(join(work, "hiberfil.sys"), Buffer.from(`hibr${"\0".repeat(4092)}`));
    await makeHive(join(work, "SOFTWARE"), softwareHive());
    for (const state of states) {
      const path = join(work, `${state}.raw`);
      await writeFile(path, "");
      await truncate(path, (state === "full" ? 96 : 320) * mebibyte);
    }
    const commands = [
      ...states.map((state) => `add ${join(work, `${state}.raw`)} format:raw cachemode:unsafe`),
      "run",
      ...states.flatMap((state, index) => commandsFor(state, `/dev/sd${"abc"[index]}`, work)),
    ];
    await run("guestfish", [], `${commands.join("\n")}\n`);
    await rename(work, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Something that passes for boot code, and enough of Windows on NTFS. */
function commandsFor(state: State, disk: string, work: string): string[] {
  const folders = ["System32/config", "System32/drivers", "Temp", "inf"];
  return [
    `part-init ${disk} mbr`,
    `part-add ${disk} p 2048 -2048`,
    `part-set-mbr-id ${disk} 1 7`,
    `part-set-bootable ${disk} 1 true`,
    `pwrite-device ${disk} "\\x33\\xc0\\x8e\\xd0" 0`,
    `mkfs ntfs ${disk}1`,
    `mount ${disk}1 /`,
    ...folders.map((folder) => `mkdir-p /Windows/${folder}`),
    'mkdir "/Program Files"',
    `upload ${work}/SYSTEM /Windows/System32/config/SYSTEM`,
    `upload ${work}/SOFTWARE /Windows/System32/config/SOFTWARE`,
    `upload ${work}/cmd.exe /Windows/System32/cmd.exe`,
    ...(state === "hibernated" ? [`upload ${work}/hiberfil.sys /hiberfil.sys`] : []),
    "umount-all",
  ];
}
