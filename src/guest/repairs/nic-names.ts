/**
 * Which network card a name in the guest's configuration belongs to. Names follow the slot of the card,
 * which is another one elsewhere; its MAC goes along.
 */
import { withoutLength } from "../../guest-hardware.ts";
import type { GuestNic } from "../machine.ts";

/** A configuration that names a card, with the MAC where it says one itself. */
export interface NamedNic {
  readonly name: string;
  readonly mac?: string;
  /** Static ones that it gives the card, without a prefix's length. */
  readonly addresses?: readonly string[];
  /** For people: the file. */
  readonly file: string;
}

export interface Pin {
  readonly name: string;
  readonly mac: string;
}

export interface Pins {
  readonly pins: readonly Pin[];
  /** Names whose card could not be told. */
  readonly unknown: readonly string[];
}

/** Of cards by their slot: ens192, enp11s0, eno16777736. */
const slotName = /^en[ospx][a-z0-9]+$/;
/** In this order VMware fills the slots of vmxnet3 cards, in a machine whose first is 160 or 192. */
const slotOrder = [160, 192, 224, 256, 161, 193, 225, 257, 162, 194, 226, 258];

/**
 * A card keeps its name where the configuration gives it by MAC, or gives it an address that VMware Tools saw
 * at this card alone; else the names, in the order of VMware's slots, belong to the cards in theirs, if there
 * are as many of both.
 */
export function pinNames(named: readonly NamedNic[], nics: readonly GuestNic[]): Pins {
  const pins = new Map<string, string>();
  const macs = new Set(nics.map(({ mac }) => mac.toLowerCase()));
  const names = [...new Set(named.map(({ name }) => name))].filter((name) => slotName.test(name));
  for (const { name, mac } of named) {
    const lower = mac?.toLowerCase();
    if (names.includes(name) && lower !== undefined && macs.has(lower)) pins.set(name, lower);
  }
  const left = () => {
    const taken = new Set(pins.values());
    return nics.filter(({ mac }) => !taken.has(mac.toLowerCase()));
  };
  for (const { name, addresses = [] } of named) {
    const [card, ...others] = left().filter((nic) => hasAny(nic, addresses));
    if (!names.includes(name) || pins.has(name) || !card || others.length > 0) continue;
    pins.set(name, card.mac.toLowerCase());
  }
  const free = names.filter((name) => !pins.has(name)).sort(bySlot);
  const cards = left();
  if (free.length === cards.length) {
    for (const [index, { mac }] of cards.entries()) pins.set(free[index]!, mac.toLowerCase());
  }
  return {
    pins: [...pins].map(([name, mac]) => ({ name, mac })),
    unknown: free.filter((name) => !pins.has(name)),
  };
}

function hasAny(nic: GuestNic, addresses: readonly string[]): boolean {
  return nic.addresses.some((address) => addresses.includes(withoutLength(address)));
}

function bySlot(a: string, b: string): number {
  return placeOf(a) - placeOf(b) || a.localeCompare(b, "en", { numeric: true });
}

function placeOf(name: string): number {
  const slot = Number(/^ens(\d+)$/.exec(name)?.[1]);
  const place = slotOrder.indexOf(slot);
  return place < 0 ? slotOrder.length : place;
}

/** systemd.link(5). A VLAN or a bridge has its card's MAC too, but no place on a bus. */
export function linkFile({ name, mac }: Pin): string {
  return `# Written by migratekit: this network card had this name at VMware.
[Match]
MACAddress=${mac}
Path=*pci-*

[Link]
Name=${name}
`;
}
