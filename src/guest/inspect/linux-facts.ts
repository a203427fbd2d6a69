/** What decides whether a Linux guest boots, read from it. */
import type { Guestfish } from "../guestfish/guestfish.ts";
import { devicesNamedIn } from "../repairs/device-names.ts";
import { optionFilesOf } from "../repairs/devices.ts";
import { type BootEntry, bootEntryOf } from "./boot-entry.ts";
import { filesOfInitrd, type InitrdFile } from "./initrd.ts";
import type { Inspected } from "./inspect.ts";
import { luksUnder } from "./layers.ts";

export interface LinuxFacts {
  /** What boots by default; undefined: no menu that is known here. */
  readonly entry?: BootEntry;
  /** Names of modules with "_", without folder and ending; undefined: there is no initrd. */
  readonly initrdModules?: ReadonlySet<string>;
  /** Why the initrd could not be read. */
  readonly initrdProblem?: string;
  /** It has what opens LUKS before the root is mounted; undefined where it was not read. */
  readonly initrdOpensLuks?: boolean;
  readonly builtinModules: ReadonlySet<string>;
  /** Of that kernel, on the root. */
  readonly installedModules: ReadonlySet<string>;
  readonly namedDevices: readonly NamedPlace[];
  /** Such as ext4. */
  readonly rootFileSystem?: string;
  readonly rootIsMapped: boolean;
  readonly rootIsEncrypted: boolean;
  /** UUIDs of all that lies on the disks. */
  readonly uuids: ReadonlySet<string>;
}

/** Where a configuration names a disk. */
export interface NamedPlace {
  readonly file: string;
  readonly name: string;
  /** Without it the guest does not come up. */
  readonly needed: boolean;
}

export async function readLinuxFacts(
  guestfish: Guestfish,
  inspected: Inspected,
): Promise<LinuxFacts> {
  const entry = await bootEntryOf(guestfish);
  const initrd = await readInitrd(guestfish, entry);
  const release = entry?.release;
  const modulesOf = async (file: string, pattern: RegExp) => {
    const text =
      release === undefined ? "" : await guestfish.readText(`/lib/modules/${release}/${file}`);
    return new Set([...(text ?? "").matchAll(pattern)].map(([, path = ""]) => moduleName(path)));
  };
  const rootFileSystem = (await guestfish.attempt("vfs-type", inspected.root))?.trim();
  return {
    ...(entry === undefined ? {} : { entry }),
    ...initrd,
    builtinModules: await modulesOf("modules.builtin", /^(\S+)$/gm),
    installedModules: await modulesOf("modules.dep", /^([^:\s]+):/gm),
    namedDevices: await namedPlaces(guestfish),
    ...(rootFileSystem ? { rootFileSystem } : {}),
    rootIsMapped: isMapped(inspected.root),
    rootIsEncrypted: (await luksUnder(guestfish, inspected)).length > 0,
    uuids: await allUuids(guestfish),
  };
}

/** By the appliance's names: a partition, a disk or a RAID, with a subvolume or without, is none. */
export function isMapped(root: string): boolean {
  return !/^(btrfsvol:)?\/dev\/(sd[a-z]+\d*|md\d+)(\/.*)?$/.test(root);
}

type InitrdFacts = Pick<LinuxFacts, "initrdModules" | "initrdProblem" | "initrdOpensLuks">;

export async function readInitrd(
  guestfish: Guestfish,
  entry: BootEntry | undefined,
): Promise<InitrdFacts> {
  if (entry === undefined || entry.initrds.length === 0) return {};
  const modules = new Set<string>();
  let initrdOpensLuks = false;
  for (const path of entry.initrds) {
    const image = await guestfish.readFile(path);
    if (image === undefined) return { initrdProblem: `${path} is not there` };
    try {
      const files = await filesOfInitrd(image);
      for (const { name } of files) {
        if (/\.ko(\.\w+)?$/.test(name)) modules.add(moduleName(name));
      }
      initrdOpensLuks ||= opensLuks(files);
    } catch (error) {
      return { initrdProblem: `${path} cannot be read: ${(error as Error).message}` };
    }
  }
  return { initrdModules: modules, initrdOpensLuks };
}

/** initramfs-tools has a table of what is to be opened; dracut a program that the kernel's options tell. */
function opensLuks(files: readonly InitrdFile[]): boolean {
  const table = files.find(({ name }) => name === "cryptroot/crypttab");
  if (table !== undefined) return table.bytes > 0;
  return files.some(({ name }) => /(^|\/)(systemd-cryptsetup|cryptroot-ask)$/.test(name));
}

/** "kernel/drivers/block/virtio_blk.ko.xz" is virtio_blk; "-" and "_" are one to the kernel. */
function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return file.replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}

async function namedPlaces(guestfish: Guestfish): Promise<NamedPlace[]> {
  const places: NamedPlace[] = [];
  const fstab = (await guestfish.readText("/etc/fstab")) ?? "";
  for (const line of fstab.split("\n").filter((each) => !/^\s*#/.test(each))) {
    const [device = "", , , options = ""] = line.trim().split(/\s+/);
    const needed = !/\b(nofail|noauto)\b/.test(options);
    for (const { name } of devicesNamedIn(device))
      places.push({ file: "/etc/fstab", name, needed });
  }
  const crypttab = (await guestfish.readText("/etc/crypttab")) ?? "";
  for (const { name } of devicesNamedIn(crypttab.replace(/^\s*#.*$/gm, ""))) {
    places.push({ file: "/etc/crypttab", name, needed: true });
  }
  for (const file of await optionFilesOf(guestfish)) {
    const text = (await guestfish.readText(file)) ?? "";
    for (const [, key, device = ""] of text.matchAll(/\b(root|resume)=(\/dev\/[a-z]+\d*)/gi)) {
      for (const { name } of devicesNamedIn(device))
        places.push({ file, name, needed: key === "root" });
    }
  }
  return [...places, ...(await lvmFilter(guestfish))];
}

/** What LVM may look at: a name in it that is not there any more hides the volumes. */
async function lvmFilter(guestfish: Guestfish): Promise<NamedPlace[]> {
  const file = "/etc/lvm/lvm.conf";
  const text = (await guestfish.readText(file)) ?? "";
  const filters = [...text.matchAll(/^\s*(?:global_)?filter\s*=\s*(.*)$/gm)].map(
    ([, value = ""]) => value,
  );
  // Names in a filter are patterns: "a|/dev/sda.*|".
  const names = filters.flatMap((value) => [
    ...value.matchAll(/"a.[^"]*?(\/dev\/(?:sd|vd|hd)[a-z]*)/g),
  ]);
  return names.map(([, name = ""]) => ({ file, name, needed: true }));
}

async function allUuids(guestfish: Guestfish): Promise<Set<string>> {
  const found = new Set<string>();
  for (const line of await guestfish.lines("list-filesystems")) {
    const device = line.slice(0, line.lastIndexOf(": "));
    const uuid = (await guestfish.attempt("vfs-uuid", device))?.trim();
    if (uuid) found.add(uuid);
  }
  return found;
}
