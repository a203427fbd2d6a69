/**
 * Before virt-v2v looks: libguestfs opens LUKS under names of its own, so a table of the guest that names what is inside
 * as its crypttab does leads nowhere, and virt-v2v gives up.
 */
import type { Repair } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import { type LuksKey, unlock } from "../inspect/unlock.ts";
import { applianceName, devicesNamedIn } from "./device-names.ts";

export async function mendLuksNames(
  guestfish: Guestfish,
  keys: readonly LuksKey[],
): Promise<Repair[]> {
  const opened = await unlock(guestfish, keys);
  const repairs: Repair[] = [];
  for (const root of await guestfish.lines("inspect-os")) {
    if ((await guestfish.attempt("mount", root, "/")) === undefined) continue;
    const crypttab = (await guestfish.readText("/etc/crypttab")) ?? "";
    const fstab = (await guestfish.readText("/etc/fstab")) ?? "";
    const uuids = await uuidsByName(guestfish, crypttab, opened);
    const mended = withUuidsForNames(fstab, uuids);
    if (mended !== fstab) {
      await guestfish.writeFile("/etc/fstab", mended);
      const names = [...uuids.keys()].filter((name) => fstab.includes(name)).join(", ");
      repairs.push({ name: "luks-names", detail: `/etc/fstab: ${names} by UUID` });
    }
    await guestfish.run("umount-all");
  }
  return repairs;
}

/** Of what lies in LUKS, by /dev/mapper/NAME as crypttab(5) has it. */
async function uuidsByName(
  guestfish: Guestfish,
  crypttab: string,
  opened: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const line of crypttab.split("\n").filter((each) => !/^\s*(#|$)/.test(each))) {
    const [name = "", source = ""] = line.trim().split(/\s+/);
    const header = await headerUuid(guestfish, source);
    const inside = [...opened].find(([, uuid]) => uuid === header)?.[0];
    const uuid = inside && (await guestfish.attempt("vfs-uuid", inside))?.trim();
    if (uuid) found.set(`/dev/mapper/${name}`, uuid);
  }
  return found;
}

/** Of the LUKS that an entry means by UUID, or by the device that it was at VMware. */
async function headerUuid(guestfish: Guestfish, source: string): Promise<string | undefined> {
  const uuid = /^(?:UUID="?|\/dev\/disk\/by-uuid\/)([\w-]+)/i.exec(source)?.[1];
  if (uuid !== undefined) return uuid.toLowerCase();
  const [device] = devicesNamedIn(source);
  if (device === undefined) return undefined;
  return (await guestfish.attempt("luks-uuid", applianceName(device)))?.trim().toLowerCase();
}

/** Lines of fstab(5) whose device is one of these. */
export function withUuidsForNames(text: string, uuids: ReadonlyMap<string, string>): string {
  return text.replace(/^([ \t]*)(\/dev\/mapper\/\S+)/gm, (all, indent: string, name: string) => {
    const uuid = uuids.get(name);
    return uuid === undefined ? all : `${indent}UUID=${uuid}`;
  });
}
