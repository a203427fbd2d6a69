/** Network cards keep the names under which the guest's configuration knows them. */
import type { Repair } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import { addFile, filesIn, type RepairContext } from "./context.ts";
import { namesByLink, namesByRule, sources } from "./nic-configuration.ts";
import { linkFile, type NamedNic, type Pins, pinNames } from "./nic-names.ts";

const linkFolder = "/etc/systemd/network";
const ruleFolder = "/etc/udev/rules.d";
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
  const kept = new Set<string>();
  for (const name of await filesIn(guestfish, ruleFolder)) {
    if (!name.endsWith(".rules")) continue;
    const text = (await guestfish.readText(`${ruleFolder}/${name}`)) ?? "";
    for (const nic of namesByRule(text)) kept.add(nic);
  }
  for (const name of await filesIn(guestfish, linkFolder)) {
    if (!name.endsWith(".link")) continue;
    const text = (await guestfish.readText(`${linkFolder}/${name}`)) ?? "";
    for (const nic of namesByLink(text)) kept.add(nic);
  }
  const named = (await namedNics(guestfish)).filter(({ name }) => !kept.has(name));
  return pinNames(named, nics);
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
