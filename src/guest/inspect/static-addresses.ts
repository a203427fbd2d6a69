/**
 * Static addresses of a Windows guest. Windows ties them to a card that will be another one, so virt-v2v
 * is told them by MAC. The registry says which are static, with mask, gateway and name servers; which card
 * has which address is what VMware Tools told.
 */
import { isIPv4 } from "node:net";
import type { Guestfish } from "../guestfish/guestfish.ts";
import type { GuestNic } from "../machine.ts";
import { Hive } from "./hive.ts";
import type { Inspected } from "./inspect.ts";

export interface StaticInterface {
  readonly address: string;
  readonly mask: string;
  readonly gateway?: string;
  readonly nameServers: readonly string[];
}

export async function readStaticInterfaces(
  guestfish: Guestfish,
  inspected: Inspected,
): Promise<StaticInterface[]> {
  const { systemRoot = "/Windows", controlSet = "ControlSet001" } = inspected;
  const system = await Hive.open(guestfish, `${systemRoot}/System32/config/SYSTEM`);
  const folder = await system?.key(controlSet, "Services", "Tcpip", "Parameters", "Interfaces");
  if (system === undefined || folder === undefined) return [];
  const found: StaticInterface[] = [];
  for (const node of await system.keysIn(folder)) {
    if ((await system.number(node, "EnableDHCP")) !== 0) continue;
    const [address = ""] = await system.texts(node, "IPAddress");
    const [mask = ""] = await system.texts(node, "SubnetMask");
    const [gateway = ""] = await system.texts(node, "DefaultGateway");
    const [servers = ""] = await system.texts(node, "NameServer");
    if (!isIPv4(address) || address === "0.0.0.0" || !isIPv4(mask)) continue;
    found.push({
      ...{ address, mask },
      ...(isIPv4(gateway) ? { gateway } : {}),
      nameServers: servers.split(/[\s,]+/).filter((each) => isIPv4(each)),
    });
  }
  return found;
}

/** For `--mac`, one of each card whose address is static; a machine with one card and one address is plain. */
export function staticMacs(
  interfaces: readonly StaticInterface[],
  nics: readonly GuestNic[],
): string[] {
  const [only] = interfaces;
  const [card] = nics;
  if (interfaces.length === 1 && nics.length === 1 && only && card)
    return [macOption(card.mac, only)];
  return nics.flatMap(({ mac, addresses }) => {
    const own = addresses.map((each) => each.replace(/\/\d+$/, ""));
    const found = interfaces.find(({ address }) => own.includes(address));
    return found === undefined ? [] : [macOption(mac, found)];
  });
}

/** MAC:ip:ADDRESS[,GATEWAY[,LENGTH[,SERVER…]]]: without a gateway there is no place for the length. */
function macOption(mac: string, { address, mask, gateway, nameServers }: StaticInterface): string {
  const rest = gateway === undefined ? [] : [gateway, String(prefixLength(mask)), ...nameServers];
  return [`${mac}:ip:${address}`, ...rest].join(",");
}

function prefixLength(mask: string): number {
  const bits = mask.split(".").map((each) => Number(each).toString(2).padStart(8, "0"));
  return bits.join("").replace(/0+$/, "").length;
}
