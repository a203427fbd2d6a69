/** What the guest's boot menu starts by default, with paths as the guest has them. */
import type { Guestfish } from "../guestfish/guestfish.ts";
import { defaultEntry, readEnvironment } from "./grub-menu.ts";
import { defaultLoaderEntry, optionsOf, readLoaderEntry } from "./loader-entries.ts";

export interface BootEntry {
  readonly title: string;
  /** Undefined where the file is not there; then `missing` names it. */
  readonly kernel?: string;
  readonly missing?: string;
  /** Of the kernel: 6.1.0-50-amd64. */
  readonly release?: string;
  readonly initrds: readonly string[];
  readonly options: string;
}

const menus = ["/boot/grub2", "/boot/grub"];
/** With UEFI, Enterprise Linux 7 and 8 keep the whole menu on the EFI system partition. */
const efiFolder = "/boot/efi/EFI";
const entryFolder = "/boot/loader/entries";

/** Undefined: no menu of GRUB 2, and none of the Boot Loader Specification. */
export async function bootEntryOf(guestfish: Guestfish): Promise<BootEntry | undefined> {
  const vendors = (await guestfish.isTrue("is-dir", efiFolder))
    ? (await guestfish.lines("ls", efiFolder)).map((name) => `${efiFolder}/${name}`)
    : [];
  for (const folder of [...menus, ...vendors]) {
    const menu = await guestfish.readText(`${folder}/grub.cfg`);
    if (menu === undefined) continue;
    const environment = readEnvironment((await guestfish.readText(`${folder}/grubenv`)) ?? "");
    const loaderEntry = /^\s*blscfg\b/m.test(menu)
      ? defaultLoaderEntry(await loaderEntries(guestfish), environment)
      : undefined;
    if (loaderEntry !== undefined) {
      const options = optionsOf(loaderEntry, environment);
      return resolved(guestfish, { ...loaderEntry, options });
    }
    const entry = defaultEntry(menu, environment);
    if (entry?.kernel !== undefined) return resolved(guestfish, { ...entry, kernel: entry.kernel });
  }
  return undefined;
}

async function loaderEntries(guestfish: Guestfish) {
  if (!(await guestfish.isTrue("is-dir", entryFolder))) return [];
  const names = (await guestfish.lines("ls", entryFolder)).filter((name) => name.endsWith(".conf"));
  const entries = [];
  for (const name of names) {
    const text = (await guestfish.readText(`${entryFolder}/${name}`)) ?? "";
    entries.push(readLoaderEntry(name.replace(/\.conf$/, ""), text));
  }
  return entries;
}

interface Unresolved {
  readonly title: string;
  readonly kernel: string;
  readonly initrds: readonly string[];
  readonly options: string;
}

async function resolved(guestfish: Guestfish, entry: Unresolved): Promise<BootEntry> {
  const { title, options } = entry;
  const kernel = await findFile(guestfish, entry.kernel);
  const initrds: string[] = [];
  for (const path of entry.initrds) initrds.push((await findFile(guestfish, path)) ?? path);
  const release = kernel === undefined ? undefined : /vmlinu[xz]-(.+)$/.exec(kernel)?.[1];
  return {
    ...{ title, options, initrds },
    ...(kernel === undefined ? { missing: entry.kernel } : { kernel }),
    ...(release === undefined ? {} : { release }),
  };
}

/**
 * GRUB's paths begin at its file system: at /boot where that is one of its own, at a subvolume's parent
 * with Btrfs.
 */
async function findFile(guestfish: Guestfish, path: string): Promise<string | undefined> {
  for (const candidate of [path, `/boot${path}`, path.replace(/^\/[^/]+/, "")]) {
    if (candidate === "") continue;
    if (await guestfish.isTrue("is-file", candidate, "followsymlinks:true")) {
      return (await guestfish.attempt("realpath", candidate))?.trim() || candidate;
    }
  }
  return undefined;
}
