/** Names of network cards in what a distribution configures its network with; pure readers of one file each. */
import { parse } from "yaml";
import type { NamedNic } from "./nic-names.ts";

type Reader = (text: string, file: string) => NamedNic[];

/** Folders of configuration, which of their files count, and who reads them. */
export const sources: readonly { folder: string; files: RegExp; read: Reader }[] = [
  { folder: "/etc/network", files: /^interfaces$/, read: readIfupdown },
  { folder: "/etc/network/interfaces.d", files: /^[\w.-]+$/, read: readIfupdown },
  { folder: "/etc/netplan", files: /\.ya?ml$/, read: readNetplan },
  { folder: "/etc/NetworkManager/system-connections", files: /./, read: readKeyfile },
  { folder: "/etc/sysconfig/network-scripts", files: /^ifcfg-(?!lo$)/, read: readIfcfg },
  { folder: "/etc/sysconfig/network", files: /^ifcfg-(?!lo$)/, read: readIfcfg },
  { folder: "/etc/systemd/network", files: /\.network$/, read: readNetworkd },
];

/** interfaces(5) */
export function readIfupdown(text: string, file: string): NamedNic[] {
  const names = [...text.matchAll(/^\s*(?:iface|auto|allow-\S+)\s+(.+)$/gm)].flatMap(
    ([line, rest = ""]) =>
      /^\s*iface/.test(line) ? rest.split(/\s+/).slice(0, 1) : rest.split(/\s+/),
  );
  return [...new Set(names)].map((name) => ({ name, file }));
}

/** netplan(5): a card that is matched by its MAC and given its name there needs nobody else's help. */
export function readNetplan(text: string, file: string): NamedNic[] {
  let document: unknown;
  try {
    document = parse(text);
  } catch {
    return [];
  }
  const cards = fieldOf(fieldOf(document, "network"), "ethernets");
  if (typeof cards !== "object" || cards === null) return [];
  return Object.entries(cards).flatMap(([name, card]) => {
    const mac = fieldOf(fieldOf(card, "match"), "macaddress");
    if (typeof mac === "string" && fieldOf(card, "set-name") !== undefined) return [];
    return [typeof mac === "string" ? { name, mac, file } : { name, file }];
  });
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

/** nm-settings-keyfile(5) */
export function readKeyfile(text: string, file: string): NamedNic[] {
  return namedBy(text, /^interface-name=(\S+)/m, /^mac-address=(\S+)/m, file);
}

/** Of Enterprise Linux and SUSE; the name is that of the file where it is not said inside. */
export function readIfcfg(text: string, file: string): NamedNic[] {
  const ofFile = file.slice(file.lastIndexOf("ifcfg-") + "ifcfg-".length);
  const found = namedBy(
    text,
    /^DEVICE=["']?([^"'\s]+)/m,
    /^(?:HWADDR|LLADDR)=["']?([^"'\s]+)/m,
    file,
  );
  return found.length > 0
    ? found
    : namedBy(`NAME=${ofFile}\n${text}`, /^NAME=(\S+)/, /^HWADDR=["']?([^"'\s]+)/m, file);
}

/** systemd.network(5) */
export function readNetworkd(text: string, file: string): NamedNic[] {
  const match = /^\[Match\]$([^[]*)/m.exec(text)?.[1] ?? "";
  return namedBy(match, /^Name=(\S+)/m, /^(?:Permanent)?MACAddress=(\S+)/m, file);
}

function namedBy(text: string, nameIn: RegExp, macIn: RegExp, file: string): NamedNic[] {
  const name = nameIn.exec(text)?.[1];
  const mac = macIn.exec(text)?.[1];
  if (name === undefined) return [];
  return [mac === undefined ? { name, file } : { name, mac, file }];
}

/** Rules of old that give a card its name by its MAC: nothing is to be done for these cards. */
export function namesByRule(text: string, file: string): NamedNic[] {
  const rules = text.split("\n").filter((line) => /^[^#]*ATTR\{address\}==/.test(line));
  return rules.flatMap((line) =>
    namedBy(line, /NAME="([^"]+)"/, /ATTR\{address\}=="([^"]+)"/, file),
  );
}

/** A .link that is there already. */
export function namesByLink(text: string, file: string): NamedNic[] {
  const found = namedBy(text, /^Name=(\S+)/m, /^MACAddress=(\S+)/m, file);
  return found.filter(({ mac }) => mac !== undefined);
}
