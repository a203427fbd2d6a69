// The test guests' disks: real Debian 12 on VMware's drivers, built once and kept under .lab/guests by
// a fingerprint of all that says how. What is kept is only read; a test works on copies or overlays.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeBiosDisk, makeUefiDisks } from "./disks.ts";
import { filesOf } from "./files.ts";
import { makeBtrfsDisk, makeLuksDisk, makeLvmBootDisks } from "./more-disks.ts";
import {
  bootBytes,
  fileSystemBytes,
  filesBefore,
  type GuestName,
  type GuestRecipe,
  type InstallationName,
  installations,
  recipes,
  suite,
} from "./recipe.ts";
import { run } from "./run.ts";

const here = import.meta.dirname;
const cache = join(here, "../../../.lab/guests");

/** Raw images of the guest's disks in their order, built where they are not there yet. */
export async function guestDisks(name: GuestName): Promise<string[]> {
  const folder = await folderOf();
  const disks = recipes[name].diskBytes.map((_, index) => join(folder, `${name}-${index}.raw`));
  if (disks.every((disk) => existsSync(disk))) return disks;
  await mkdir(cache, { recursive: true });
  // Two tests may want it at the same time; the second finds what the first has made.
  await run("flock", [join(cache, "lock"), process.execPath, join(here, "make.ts"), name]);
  return disks;
}

const makers: Readonly<
  Record<GuestName, (recipe: GuestRecipe, work: string) => Promise<string[]>>
> = {
  bios: makeBiosDisk,
  "uefi-lvm": makeUefiDisks,
  "lvm-boot": makeLvmBootDisks,
  btrfs: makeBtrfsDisk,
  luks: makeLuksDisk,
};

/** For make.ts, which holds the lock. */
export async function makeGuest(name: GuestName): Promise<void> {
  const folder = await folderOf();
  const recipe = recipes[name];
  const work = join(folder, recipe.installation);
  if (existsSync(join(folder, `${name}-0.raw`))) return;
  if (!existsSync(join(work, "kernel"))) await makeFileSystems(work, recipe.installation);
  // The first one last: it says that all are there.
  const made = await makers[name](recipe, work);
  for (const [index, disk] of [...made.entries()].reverse()) {
    await rename(disk, join(folder, `${name}-${index}.raw`));
  }
}

/** One installation serves several guests. */
async function makeFileSystems(work: string, installation: InstallationName): Promise<void> {
  await rm(work, { recursive: true, force: true });
  await writeTree(join(work, "before"), filesBefore);
  for (const recipe of Object.values(recipes)) {
    if (recipe.installation !== installation) continue;
    await writeTree(join(work, recipe.name), filesOf(recipe));
    await writeFile(join(work, `${recipe.name}.env`), environmentOf(recipe));
  }
  const packages = installations[installation];
  await run("mmdebstrap", [
    ...["--variant=minbase", "--format=null", `--include=${packages.join(",")}`],
    '--aptopt=APT::Install-Recommends "false"',
    ...["--dpkgopt=force-unsafe-io", "--dpkgopt=force-confold"],
    ...["doc", "man", "info", "locale", "lintian"].map(
      (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
    ),
    `--essential-hook=cp -r ${work}/before/. "$1"`,
    `--customize-hook=sh ${here}/file-systems.sh "$1" ${work}`,
    ...[suite, "/dev/null", await mirror()],
  ]);
}

/** The network of `uefi-lvm` and `lvm-boot` is networkd's; NetworkManager has that of `btrfs` alone. */
function environmentOf(recipe: GuestRecipe): string {
  const { name, installation, firmware, rootUuid, bootUuid = "" } = recipe;
  const grub = firmware === "bios" ? "i386-pc" : "x86_64-efi";
  const units = ["uefi-lvm", "lvm-boot"].includes(name) ? "systemd-networkd.service" : "";
  const masked = installation === "plain" || name === "btrfs" ? "" : "NetworkManager.service";
  const sizes = `FS_KIB=${fileSystemBytes / 1024}\nBOOT_KIB=${bootBytes / 1024}\n`;
  return `FS_UUID=${rootUuid}\nBOOT_UUID=${bootUuid}\n${sizes}GRUB=${grub}\nUNITS=${units}\nMASKED=${masked}\n`;
}

/** That from which this machine itself gets Debian. */
async function mirror(): Promise<string> {
  const wanted = ["Created-By: Packages", "Origin: Debian", "Component: main"];
  const uris = await run("apt-get", ["indextargets", "--format", "$(REPO_URI)", ...wanted]);
  const [first] = uris.split("\n");
  if (!first) throw new Error("apt knows no mirror of Debian; run apt-get update");
  return first;
}

async function writeTree(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

async function folderOf(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(here)).sort()) hash.update(await readFile(join(here, name)));
  return join(cache, hash.digest("hex").slice(0, 16));
}
