/** What a file system lies on, by the appliance's names. */
import type { Guestfish } from "../guestfish/guestfish.ts";
import type { Inspected } from "./inspect.ts";

/** The physical volumes of a logical volume's group; of anything else the device itself. */
export async function devicesUnder(guestfish: Guestfish, device: string): Promise<string[]> {
  const group = /^\/dev\/([^/]+)\/[^/]+$/.exec(device)?.[1];
  if (group === undefined || !(await guestfish.isTrue("is-lv", device))) return [device];
  const uuids = new Set(await guestfish.lines("vgpvuuids", group));
  const found: string[] = [];
  for (const volume of await guestfish.lines("pvs")) {
    const uuid = (await guestfish.attempt("pvuuid", volume))?.trim() ?? "";
    if (uuids.has(uuid)) found.push(volume);
  }
  return found;
}

/** UUIDs of the LUKS that the root lies in; none where it lies in the clear. */
export async function luksUnder(
  guestfish: Guestfish,
  { root, opened }: Pick<Inspected, "root" | "opened">,
): Promise<string[]> {
  if (opened.size === 0) return [];
  const device = root.replace(/^btrfsvol:(.*)\/[^/]+$/, "$1");
  return (await devicesUnder(guestfish, device)).flatMap((each) => opened.get(each) ?? []);
}
