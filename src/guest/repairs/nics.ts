/** Network cards keep the names under which the guest's configuration knows them. */
import type { Repair } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import { addFile, filesIn, type RepairContext } from "./context.ts";
import { namesByLink, namesByRule, sources } from "./nic-configuration.ts";
import { linkFile, type NamedNic, type Pins, pinNames } from "./nic-names.ts";

const linkFolder = "/etc/systemd/network";
/** Where a guest itself gives cards their names. */
const own = [
  ["/etc/udev/rules.d", ".rules", namesByRule],
  [linkFolder, ".link", namesByLink],
] as const;
const managers = ["/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd"];
const udevadm = ["/usr/bin/udevadm", "/bin/udevadm", "/sbin/udevadm", "/usr/sbin/udevadm"];

export async function pinNicNames({ guestfish, hardware }: RepairContext): Promise<Repair[]> {
  const { pins } = await pinsNeeded(guestfish, hardware.nics);
  if (pins.length === 0 || !(await hasSystemd(guestfish))) return [];
  const repairs: Repair[] = [];
  for (const pin of pins) {
    const path = `${linkFolder}/10-migratekit-${pin.name}.link`;
    await addFile(guestfish, path, linkFile(pin));
    repairs.push({ name: "nic-names", detail: `${pin.mac} keeps the name ${pin.name} (${path})` });
  }
  return repairs;
}

/** What is not taken care of by the guest itself. */
export async function pinsNeeded(
  guestfish: Guestfish,
  nics: RepairContext["hardware"]["nics"],
): Promise<Pins> {
  const kept: NamedNic[] = [];
  for (const [folder, ending, read] of own) {
    for (const name of await filesIn(guestfish, folder)) {
      if (!name.endsWith(ending)) continue;
      const path = `${folder}/${name}`;
      kept.push(...read((await guestfish.readText(path)) ?? "", path));
    }
  }
  const names = new Set(kept.map(({ name }) => name));
  const macs = new Set(kept.map(({ mac }) => mac?.toLowerCase()));
  const named = (await namedNics(guestfish)).filter(({ name }) => !names.has(name));
  // A card that has its name already is none of those whose names are looked for.
  return pinNames(
    named,
    nics.filter(({ mac }) => !macs.has(mac.toLowerCase())),
  );
}

async function namedNics(guestfish: Guestfish): Promise<NamedNic[]> {
  const found: NamedNic[] = [];
  for (const { folder, files, read } of sources) {
    for (const name of await filesIn(guestfish, folder)) {
      if (!files.test(name)) continue;
      const path = `${folder}/${name}`;
      found.push(...read((await guestfish.readText(path)) ?? "", path));
    }
  }
  return found;
}

/** Since systemd 243 udevd is udevadm by another name. */
async function hasSystemd(guestfish: Guestfish): Promise<boolean> {
  for (const path of managers) {
    if ((await guestfish.isTrue("exists", path)) || (await guestfish.isTrue("is-symlink", path)))
      return true;
  }
  const isSystemd = await guestfish.isTrue("is-dir", "/usr/lib/systemd");
  for (const path of isSystemd ? udevadm : [])
    if (await guestfish.isTrue("exists", path)) return true;
  return false;
}
