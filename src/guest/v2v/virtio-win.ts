/**
 * The folder of virtio-win whose drivers a Windows gets. virt-v2v chooses it by what libguestfs takes the guest for, and
 * an older libguestfs takes a newer release for an old one: Server 2025 for Server 2016 (seen with 1.48).
 */
import { cp, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Finding } from "../conversion.ts";
import type { WindowsRelease } from "../inspect/windows-release.ts";

/** What is right for the releases from this build on, the better first; the newest that it reaches counts. */
const rightFolders: readonly (readonly [build: number, isServer: boolean, folders: string[]])[] = [
  [26_100, true, ["2k25", "2k22"]],
  [20_348, true, ["2k22"]],
  [17_763, true, ["2k19"]],
  [14_393, true, ["2k16"]],
  [22_000, false, ["w11"]],
  [10_240, false, ["w10"]],
];
const releaseFolder = /^(2k|w|xp)[\d.]*/i;

export interface Drivers {
  /** To be given to virt-v2v. */
  readonly virtioWin?: string;
  readonly findings: readonly Finding[];
}

/**
 * The drivers that virt-v2v is to be given, where it would choose others: a tree in `folder` that has the right ones
 * under the name that it looks for. A finding, where they cannot be told apart.
 * @param virtioWin as ISO or folder
 */
export async function chooseDrivers(
  virtioWin: string | undefined,
  { build = 0, isServer, takenFor = "" }: WindowsRelease,
  folder: string,
): Promise<Drivers> {
  const given = virtioWin === undefined ? {} : { virtioWin };
  const right = rightFolders.find(([least, server]) => build >= least && server === isServer)?.[2];
  // win2k22 is 2k22, win11 is w11.
  const taken = takenFor.replace(/^win(?=2)/, "").replace(/^win(?=\d)/, "w");
  if (right === undefined || taken === "" || right.includes(taken))
    return { ...given, findings: [] };
  const viostor = virtioWin === undefined ? [] : await foldersIn(join(virtioWin, "viostor"));
  const found = right.find((name) => viostor.includes(name));
  if (virtioWin === undefined || found === undefined) {
    return {
      ...given,
      findings: viostor.includes(taken) || viostor.length === 0 ? [old(right, taken)] : [],
    };
  }
  const tree = join(folder, "virtio-win");
  for (const driver of await foldersIn(virtioWin)) {
    const inside = await foldersIn(join(virtioWin, driver));
    if (inside.includes(found)) {
      await cp(join(virtioWin, driver, found), join(tree, driver, taken), { recursive: true });
    } else if (!inside.some((name) => releaseFolder.test(name))) {
      await cp(join(virtioWin, driver), join(tree, driver), { recursive: true });
    }
  }
  return { virtioWin: tree, findings: [] };
}

function old(right: readonly string[], taken: string): Finding {
  const text = `virt-v2v gives this Windows the drivers of ${taken}, for it is not known to it: whether they work only a boot tells; --virtio-win with a folder that has viostor/${right[0]} gives it the right ones`;
  return { level: "look", source: "check", text };
}

/** None where it is no folder. */
async function foldersIn(path: string): Promise<string[]> {
  const names = await readdir(path).catch(() => []);
  const found: string[] = [];
  for (const name of names) {
    if ((await stat(join(path, name)).catch(() => undefined))?.isDirectory()) found.push(name);
  }
  return found.sort();
}
