/**
 * An encrypted root on Debian and Ubuntu. What makes the initrd takes from crypttab the entry whose name the root now
 * has; in virt-v2v's appliance it has another, so an initrd made there opens nothing, and virt-v2v ends with 0.
 */
import type { Repair } from "../conversion.ts";
import { bootEntryOf } from "../inspect/boot-entry.ts";
import { luksUnder } from "../inspect/layers.ts";
import { readInitrd } from "../inspect/linux-facts.ts";
import type { RepairContext } from "./context.ts";

const table = "/etc/crypttab";
const program = "/usr/sbin/update-initramfs";

/** crypttab(5) of Debian: an entry with the option `initramfs` is taken whatever the root is called. */
export async function mendLuksRoot({ guestfish, inspected }: RepairContext): Promise<Repair[]> {
  const uuids = await luksUnder(guestfish, inspected);
  if (uuids.length === 0 || !(await guestfish.isTrue("is-file", program))) return [];
  const entry = await bootEntryOf(guestfish);
  const { initrdOpensLuks } = await readInitrd(guestfish, entry);
  if (entry?.release === undefined || initrdOpensLuks !== false) return [];
  const text = (await guestfish.readText(table)) ?? "";
  const mended = withOption(text, uuids);
  if (mended === text) return [];
  await guestfish.writeFile(table, mended);
  await guestfish.run("command", `${program} -u -k ${entry.release}`);
  const detail = `${table}: the root's entry has the option initramfs; the initrd of ${entry.release} was made anew`;
  return [{ name: "luks-root", detail }];
}

/** Names of devices are UUIDs by now. */
export function withOption(text: string, uuids: readonly string[]): string {
  return text
    .split("\n")
    .map((line) => {
      const [name = "", source = "", key = "none", options = "luks"] = line.trim().split(/\s+/);
      const uuid = /^UUID="?([\w-]+)"?$/i.exec(source)?.[1]?.toLowerCase();
      if (name.startsWith("#") || uuid === undefined || !uuids.includes(uuid)) return line;
      if (options.split(",").includes("initramfs")) return line;
      return `${name} ${source} ${key} ${options},initramfs`;
    })
    .join("\n");
}
