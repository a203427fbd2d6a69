/**
 * Static addresses of a Windows guest. Windows ties them to a card that will be another one, so virt-v2v
 * is told them by MAC. The registry says which are static, with mask, gateway and name servers; which card
 * has which address is what VMware Tools told.
 */
import { isIPv4 } from "node:net";
import { withoutLength } from "../../guest-hardware.ts";
import type { Finding } from "../conversion.ts";
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

export interface StaticPlan {
  /** For `--mac`. */
  readonly macs: readonly string[];
  /** What cannot be kept so. */
  readonly findings: readonly Finding[];
}

/** One for each card whose address is static; a machine with one card and one address is plain. */
export function planStaticAddresses(
  interfaces: readonly StaticInterface[],
  nics: readonly GuestNic[],
): StaticPlan {
  const macs: string[] = [];
  const findings: Finding[] = [];
  for (const each of interfaces) {
    const mac = cardOf(each, interfaces, nics);
    if (mac === undefined) findings.push(look(each, "which network card has it is not known"));
    // virt-v2v takes a length only behind a gateway; without a length Windows reaches nobody.
    else if (each.gateway === undefined) findings.push(look(each, "it has no gateway"));
    else macs.push(macOption(mac, each, each.gateway));
  }
  return { macs, findings };
}

function cardOf(
  { address }: StaticInterface,
  interfaces: readonly StaticInterface[],
  nics: readonly GuestNic[],
): string | undefined {
  if (interfaces.length === 1 && nics.length === 1) return nics[0]?.mac;
  return nics.find(({ addresses }) => addresses.some((each) => withoutLength(each) === address))
    ?.mac;
}

function look({ address, mask }: StaticInterface, why: string): Finding {
  const text = `the static address ${address}/${prefixLength(mask)} has to be set by hand: ${why}`;
  return { level: "look", source: "check", text };
}

/** MAC:ip:ADDRESS,GATEWAY,LENGTH[,SERVER…] */
function macOption(mac: string, { address, mask, nameServers }: StaticInterface, gateway: string) {
  return [`${mac}:ip:${address}`, gateway, String(prefixLength(mask)), ...nameServers].join(",");
}

function prefixLength(mask: string): number {
  const bits = mask.split(".").map((each) => Number(each).toString(2).padStart(8, "0"));
  return bits.join("").replace(/0+$/, "").length;
}
