/** The cards of a machine to come: their networks, addresses and MACs, each judged before the machine is. */

import { randomBytes, randomUUID } from "node:crypto";
import { ApiError, apiErrorCodes, parameterError } from "../api/api-error.ts";
import type { NetworkRecord, NicRecord, Owner } from "../world/records.ts";
import type { World } from "../world/world.ts";
import { type Call, isListed } from "./command.ts";
import { findById } from "./find.ts";

interface WantedNic {
  readonly networkId: string;
  readonly ip?: string | undefined;
  readonly mac?: string | undefined;
}

export function makeNics(call: Call, owner: Owner): NicRecord[] {
  const nics: NicRecord[] = [];
  for (const wanted of wantedNics(call)) {
    const network = findById(call, "networkids", call.world.catalogue.networks, wanted.networkId);
    if (network.owner !== undefined) call.world.checkSameOwner(network.owner, owner);
    if (nics.some(({ networkId }) => networkId === network.id))
      throw parameterError(`Network ${network.id} is given twice`);
    const mac = makeMac(call.world, network, wanted.mac);
    const ip = makeAddress(call.world, network, wanted.ip);
    nics.push({ id: randomUUID(), networkId: network.id, mac, ...(ip !== undefined && { ip }) });
  }
  return nics;
}

function wantedNics(call: Call): WantedNic[] {
  const { parameters, world } = call;
  const list = parameters.entries("iptonetworklist");
  const ids = parameters.list("networkids");
  const ip = parameters.text("ipaddress");
  if (list.length > 0) {
    if (ids !== undefined || ip !== undefined)
      throw parameterError("ipToNetworkMap can't be specified along with networkIds or ipAddress");
    return list.map((entry) => ({
      networkId: entry.networkid ?? "",
      ip: entry.ip,
      mac: entry.mac,
    }));
  }
  // With an address for the first card, its MAC is dropped, and nobody is told.
  const mac = ip === undefined ? parameters.text("macaddress") : undefined;
  const first = world.catalogue.networks.find(({ owner }) => !owner || isListed(call, owner));
  const networks = ids ?? (first ? [first.id] : []);
  return networks.map((networkId, index) => (index === 0 ? { networkId, ip, mac } : { networkId }));
}

function makeMac(world: World, network: NetworkRecord, wanted: string | undefined): string {
  const taken = usedNics(world, network).map(({ mac }) => mac);
  if (wanted === undefined) {
    for (;;) {
      const mac = ["02", "01", ...Array.from(randomBytes(4), (byte) => byte.toString(16))]
        .map((byte) => byte.padStart(2, "0"))
        .join(":");
      if (!taken.includes(mac)) return mac;
    }
  }
  const mac = wanted.toLowerCase();
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac))
    throw parameterError(`Mac address is not valid: ${wanted}`);
  if (Number.parseInt(mac.slice(0, 2), 16) & 1)
    throw parameterError(`Mac address is not unicast: ${wanted}`);
  if (taken.includes(mac))
    throw parameterError(
      `Requested mac address ${wanted} is already in use in network ${network.name}`,
    );
  return mac;
}

function makeAddress(world: World, network: NetworkRecord, wanted: string | undefined) {
  if (network.cidr === undefined) {
    if (wanted !== undefined)
      throw parameterError(`L2 network ${network.name} does not support the IP address ${wanted}`);
    return undefined;
  }
  const taken = [network.gateway, ...usedNics(world, network).map(({ ip }) => ip)];
  const prefix = network.cidr.slice(0, network.cidr.lastIndexOf(".") + 1);
  if (wanted !== undefined) {
    if (!wanted.startsWith(prefix))
      throw parameterError(
        `Specified IPv4 address ${wanted} is not in the range of network ${network.name}`,
      );
    if (taken.includes(wanted))
      throw new ApiError(
        apiErrorCodes.insufficientCapacity,
        `Unable to acquire Guest IP address ${wanted} for network ${network.name}`,
      );
    return wanted;
  }
  for (let host = 100; host < 255; host++)
    if (!taken.includes(`${prefix}${host}`)) return `${prefix}${host}`;
  throw new ApiError(apiErrorCodes.insufficientCapacity, `No address free in ${network.name}`);
}

/** Also those of destroyed machines, until they are expunged. */
function usedNics(world: World, network: NetworkRecord): NicRecord[] {
  return world.standing
    .flatMap(({ nics }) => nics)
    .filter(({ networkId }) => networkId === network.id);
}
