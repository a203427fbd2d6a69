/** Whether each network card has a network, and its MAC and address are free there. */
import { BlockList } from "node:net";
import type { CloudStack, Network } from "../../../cloudstack/cloudstack.ts";
import { MigratekitError } from "../../../errors.ts";
import { type CardOrder, type FoundMapping, orderCards } from "../../deploy/network-cards.ts";
import { type Finding, ok, problem, warning } from "../finding.ts";
import type { DeployContext } from "./context.ts";

export async function checkNetworks({ config, cloud, vm }: DeployContext): Promise<Finding[]> {
  const findings: Finding[] = [];
  const mappings: (FoundMapping & { readonly network: Network })[] = [];
  for (const { portGroup, network, ip } of config.network ?? []) {
    try {
      mappings.push({ portGroup, ip, network: await cloud.network(network) });
    } catch (error) {
      findings.push(problem("cloudstack", error));
    }
  }
  // Cards whose network was not found are no second finding.
  if (vm === undefined || findings.length > 0) return findings;
  const { nics } = vm.details.hardware;
  const cards = orderCards(nics, mappings, (text) =>
    findings.push(warning("cloudstack", text, "Say its address with ,ip=A.B.C.D or ,ip=auto.")),
  );
  const networks = new Map(mappings.map(({ network }) => [network.id, network]));
  for (const card of cards) {
    findings.push(...(await checkCard(cloud, card, networks.get(card.networkId)!)));
  }
  return findings;
}

async function checkCard(cloud: CloudStack, card: CardOrder, network: Network): Promise<Finding[]> {
  const { mac = "", ip } = card;
  const where = `network ${network.name} (${network.id})`;
  const refuse = (message: string, remedy?: string) =>
    problem(
      "cloudstack",
      new MigratekitError("cloudstack-conflict", message, remedy === undefined ? {} : { remedy }),
    );
  const findings: Finding[] = [];
  if (!network.canDeploy) findings.push(refuse(`${where} takes no instances`));
  if (ip !== undefined && network.cidr !== undefined && !isWithin(ip, network.cidr)) {
    const remedy = "Give one of its addresses with ,ip=A.B.C.D or let CloudStack choose: ,ip=auto.";
    findings.push(
      refuse(`the address ${ip} of the card ${mac} is not in ${network.cidr} of ${where}`, remedy),
    );
  }
  if (ip !== undefined && ip === network.gateway)
    findings.push(refuse(`the address ${ip} is the gateway's of ${where}`));
  // Other accounts' instances are not seen on a shared network; CloudStack itself looks when it deploys.
  for (const { name, nics } of await cloud.instancesOn(network.id)) {
    for (const nic of nics.filter(({ networkId }) => networkId === network.id)) {
      if (nic.mac === mac) findings.push(refuse(`the MAC ${mac} is taken on ${where} by ${name}`));
      if (ip !== undefined && nic.ip === ip)
        findings.push(refuse(`the address ${ip} is taken on ${where} by ${name}`));
    }
  }
  if (findings.length > 0) return findings;
  const address = ip ?? (network.type === "L2" ? "no address of CloudStack's" : "any address");
  return [ok("cloudstack", `card ${mac} -> ${where}, ${address}`)];
}

function isWithin(ip: string, cidr: string): boolean {
  const [base = "", length] = cidr.split("/");
  const list = new BlockList();
  list.addSubnet(base, Number(length));
  return list.check(ip);
}
