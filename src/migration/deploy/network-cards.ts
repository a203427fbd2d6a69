/** Which network each card of the VM goes to, with which address. Pure. */
import type { Network, NewInstance } from "../../cloudstack/cloudstack.ts";
import { MigratekitError } from "../../errors.ts";
import { type GuestNic, withoutLength } from "../../guest-hardware.ts";
import type { NetworkMapping } from "../../option-types.ts";

export type CardOrder = NewInstance["nics"][number];

/** A mapping whose network was found. */
export interface FoundMapping extends Pick<NetworkMapping, "portGroup" | "ip"> {
  readonly network: Pick<Network, "id" | "name" | "type">;
}

/**
 * A mapping of a card's MAC beats that of its port group. In the VM's order, which decides the guest's names and
 * the default route, with MACs kept. `onNotice` is told what is not as it was.
 * @throws MigratekitError `usage` naming the port group that has no network
 */
export function orderCards(
  nics: readonly GuestNic[],
  mappings: readonly FoundMapping[],
  onNotice: (text: string) => void,
): CardOrder[] {
  const used = new Map<string, GuestNic>();
  return nics.map((nic) => {
    const mapping =
      mappings.find(({ portGroup }) => portGroup.toLowerCase() === nic.mac) ??
      mappings.find(({ portGroup }) => portGroup === nic.network);
    if (mapping === undefined) throw unmapped(nic, nics);
    const { network, ip } = mapping;
    const card = { networkId: network.id, mac: nic.mac };
    const earlier = used.get(network.id);
    if (earlier) {
      throw new MigratekitError(
        "usage",
        `--network puts two cards, ${earlier.mac} and ${nic.mac}, on ${network.name}, and CloudStack takes one`,
        {
          remedy: `Say for one of them where it goes, by its MAC: --network '${nic.mac}=NETWORK'.`,
        },
      );
    }
    used.set(network.id, nic);
    // CloudStack keeps no addresses on a network of layer 2.
    if (network.type === "L2" || ip === "auto") return card;
    const address = ip === "keep" ? keptAddress(nic) : ip;
    if (address !== undefined) return { ...card, ip: address };
    onNotice(
      `no address of the card ${nic.mac} is known that could be kept: CloudStack gives it one of ${network.name}`,
    );
    return card;
  });
}

function unmapped({ mac, network }: GuestNic, nics: readonly GuestNic[]): MigratekitError {
  const groups = [...new Set(nics.map((nic) => nic.network ?? "").filter(Boolean))];
  const form = groups.map((group) => `--network '${group}=NETWORK'`).join(" ");
  return new MigratekitError(
    "usage",
    `no --network says where the card ${mac} of port group ${network ?? "(unknown)"} goes`,
    { remedy: `Say it for each port group: ${form}.` },
  );
}

/** The first IPv4 address, without its prefix. */
function keptAddress({ addresses }: GuestNic): string | undefined {
  return addresses.map(withoutLength).find((each) => /^\d+(\.\d+){3}$/.test(each));
}
