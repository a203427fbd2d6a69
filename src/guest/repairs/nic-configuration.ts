/** Names of network cards in what a distribution configures its network with; pure readers of one file each. */
import { parse } from "yaml";
import { withoutLength } from "../../guest-hardware.ts";
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

/** interfaces(5): what belongs to an `iface` stands behind it, until the next stanza. */
export function readIfupdown(text: string, file: string): NamedNic[] {
  const found = new Map<string, string[]>();
  const stanzas = text.split(/^(?=\s*(?:iface|auto|allow-\S+|mapping|source\S*)\s)/m);
  for (const stanza of stanzas) {
    const [, keyword, rest = ""] = /^\s*(iface|auto|allow-\S+)\s+(.+)$/m.exec(stanza) ?? [];
    if (keyword === undefined) continue;
    const names = rest.trim().split(/\s+/);
    const addresses = addressesBy(stanza, /^\s+address\s+(\S+)/gm);
    for (const name of keyword === "iface" ? names.slice(0, 1) : names) {
      found.set(name, [...(found.get(name) ?? []), ...addresses]);
    }
  }
  return [...found].map(([name, addresses]) => ({ name, file, ...given(addresses) }));
}

function addressesBy(text: string, addressIn: RegExp): string[] {
  return [...text.matchAll(addressIn)].map(([, address = ""]) => withoutLength(address));
}

function given(addresses: readonly string[]): Pick<NamedNic, "addresses"> {
  return addresses.length > 0 ? { addresses } : {};
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
    const addresses = given(addressesOf(fieldOf(card, "addresses")));
    return [{ name, file, ...(typeof mac === "string" && { mac }), ...addresses }];
  });
}

/** A list of addresses, or of objects with one address as their key. */
function addressesOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each: unknown) => {
    if (typeof each === "string") return [withoutLength(each)];
    return typeof each === "object" && each !== null ? Object.keys(each).map(withoutLength) : [];
  });
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

/** nm-settings-keyfile(5) */
export function readKeyfile(text: string, file: string): NamedNic[] {
  const named = namedBy(text, /^interface-name=(\S+)/m, /^mac-address=(\S+)/m, file);
  return withAddresses(named, text, /^address\d*=([^,;\s]+)/gm);
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
  const named =
    found.length > 0
      ? found
      : namedBy(`NAME=${ofFile}\n${text}`, /^NAME=(\S+)/, /^HWADDR=["']?([^"'\s]+)/m, file);
  return withAddresses(named, text, /^IPADDR\w*=["']?([^"'\s]+)/gm);
}

/** systemd.network(5) */
export function readNetworkd(text: string, file: string): NamedNic[] {
  const match = /^\[Match\]$([^[]*)/m.exec(text)?.[1] ?? "";
  const named = namedBy(match, /^Name=(\S+)/m, /^(?:Permanent)?MACAddress=(\S+)/m, file);
  return withAddresses(named, text, /^Address=(\S+)/gm);
}

function withAddresses(named: readonly NamedNic[], text: string, addressIn: RegExp): NamedNic[] {
  const addresses = given(addressesBy(text, addressIn));
  return named.map((each) => ({ ...each, ...addresses }));
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
