/** Names of disks in the guest's tables and boot menus become UUIDs. */
import type { Repair } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import { filesIn, type RepairContext } from "./context.ts";
import {
  applianceName,
  devicesNamedIn,
  type NamedDevice,
  type Uuids,
  withUuidsInOptions,
  withUuidsInTable,
} from "./device-names.ts";

/** Where kernel options stand. */
const optionFiles = [
  "/boot/grub/grub.cfg",
  "/boot/grub2/grub.cfg",
  "/boot/grub/grubenv",
  "/boot/grub2/grubenv",
  "/etc/default/grub",
  "/etc/kernel/cmdline",
  "/etc/initramfs-tools/conf.d/resume",
];
const optionFolders: readonly (readonly [folder: string, files: RegExp])[] = [
  ["/boot/loader/entries", /\.conf$/],
  ["/etc/default/grub.d", /\.cfg$/],
];

export async function mendDeviceNames({ guestfish, inspected }: RepairContext): Promise<Repair[]> {
  const files = await optionFilesOf(guestfish);
  const texts = new Map<string, string>();
  const { root, opened } = inspected;
  // What the appliance calls a root in LUKS is no name of the guest's.
  const own = opened.has(root) ? [root] : [];
  const namesIn = (text: string) => [
    ...devicesNamedIn(text).map(({ name }) => name),
    ...own.filter((name) => text.includes(`root=${name}`)),
  ];
  for (const path of ["/etc/fstab", "/etc/crypttab", ...files]) {
    const text = await guestfish.readText(path);
    if (text !== undefined && namesIn(text).length > 0) texts.set(path, text);
  }
  const uuids = await uuidsOf(guestfish, [...texts.values()].flatMap(devicesNamedIn));
  // A menu that virt-v2v has made anew names the root as libguestfs's appliance had it.
  const rootUuid = await uuidOfDevice(guestfish, root);
  const repairs: Repair[] = [];
  for (const [path, text] of texts) {
    const mended = mend(path, text, uuids, own, rootUuid);
    if (mended === text) continue;
    await guestfish.writeFile(path, mended);
    const names = new Set(namesIn(text));
    for (const name of namesIn(mended)) names.delete(name);
    repairs.push({ name: "device-names", detail: `${path}: ${[...names].join(", ")} by UUID` });
  }
  return repairs;
}

function mend(
  path: string,
  text: string,
  uuids: Uuids,
  own: readonly string[],
  rootUuid?: string,
): string {
  if (path === "/etc/fstab") return withUuidsInTable(text, 0, uuids);
  if (path === "/etc/crypttab") return withUuidsInTable(text, 1, uuids);
  let mended = withUuidsInOptions(text, uuids, rootUuid);
  for (const name of rootUuid === undefined ? [] : own) {
    mended = mended.replaceAll(`root=${name}`, `root=UUID=${rootUuid}`);
  }
  return path.endsWith("/grubenv") ? padded(mended, text.length) : mended;
}

/** GRUB's environment is a block of fixed size, filled up with "#". */
function padded(text: string, length: number): string {
  const content = text.replace(/#+$/, "");
  return content.length > length ? text : content.padEnd(length, "#");
}

/** Kernel options of the guest, wherever it keeps them. */
export async function optionFilesOf(guestfish: Guestfish): Promise<string[]> {
  const found = [...optionFiles];
  for (const [folder, files] of optionFolders) {
    const names = (await filesIn(guestfish, folder)).filter((name) => files.test(name));
    found.push(...names.map((name) => `${folder}/${name}`));
  }
  for (const name of await filesIn(guestfish, "/boot/efi/EFI")) {
    found.push(`/boot/efi/EFI/${name}/grub.cfg`, `/boot/efi/EFI/${name}/grubenv`);
  }
  return found;
}

async function uuidsOf(guestfish: Guestfish, devices: readonly NamedDevice[]): Promise<Uuids> {
  const found = new Map<string, string | undefined>();
  for (const device of devices) {
    const name = applianceName(device);
    if (!found.has(name)) found.set(name, await uuidOfDevice(guestfish, name));
  }
  return (device) => found.get(applianceName(device));
}

/** Of a file system, of swap, of LUKS. */
async function uuidOfDevice(guestfish: Guestfish, device: string): Promise<string | undefined> {
  const text = (
    await guestfish.attempt("vfs-uuid", device.replace(/^btrfsvol:(\/dev\/\w+)\/.*$/, "$1"))
  )?.trim();
  return text && /^[\w-]+$/.test(text) ? text : undefined;
}
