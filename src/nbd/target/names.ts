/** Under which names a target is known: one export has many, and all that can be told are gathered. */
import { lookup } from "node:dns/promises";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { canonicalHost, exportIdentity, parseNbdUri, targetIdentity } from "./uri.ts";
import { volumeName } from "./volume.ts";

export interface TargetNames {
  /**
   * That stay true: `targetIdentity` first, then the addresses or the path that it stands for, and the
   * CloudStack volume where it is one.
   */
  readonly lasting: readonly string[];
  /** That are true while its server runs: the inode of a Unix socket. */
  readonly passing: readonly string[];
}

/**
 * Every name of the export that this URI names. A name that does not resolve has no address here;
 * connecting to it says why.
 */
export async function targetNames(uri: string): Promise<TargetNames> {
  const { host = "", port = 0, socketPath, exportName } = parseNbdUri(uri);
  const identity = targetIdentity(uri);
  const volume = volumeName(exportName);
  const ofVolume = volume === undefined ? [] : [volume];
  if (socketPath !== undefined) {
    const { lasting, passing } = socketNames(identity, socketPath, exportName);
    return { lasting: [...lasting, ...ofVolume], passing };
  }
  const hosts = new Set<string>();
  for (const address of await addressesOf(canonicalHost(host))) {
    hosts.add(canonicalHost(address));
    if (isOwnAddress(address) && servesAllAddresses(port, address)) hosts.add("localhost");
  }
  const others = [...hosts].map((name) => exportIdentity({ host: name, port, exportName }));
  return { lasting: [...new Set([identity, ...others, ...ofVolume])], passing: [] };
}

/** A socket made anew has another inode, and another socket may get the old one: it names no owner. */
function socketNames(identity: string, path: string, exportName: string): TargetNames {
  try {
    const { dev, ino } = statSync(path);
    const real = exportIdentity({ socketPath: realpathSync(path), exportName });
    const inode = exportIdentity({ socketPath: `inode:${dev}:${ino}`, exportName });
    return { lasting: [...new Set([identity, real])], passing: [inode] };
  } catch {
    return { lasting: [identity], passing: [] };
  }
}

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  if (host === "localhost") return [];
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.map(({ address }) => address);
}

function isOwnAddress(address: string): boolean {
  if (address.startsWith("127.")) return true;
  const own = Object.values(networkInterfaces()).flat();
  return own.some(
    (entry) => entry !== undefined && canonicalHost(entry.address) === canonicalHost(address),
  );
}

/**
 * Whether a server on this host listens at the port on every address: then all addresses of the host
 * are one. From /proc/net/tcp (proc(5)): local address, and state 0A for listening.
 */
function servesAllAddresses(port: number, address: string): boolean {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  // A wildcard of IPv6 takes IPv4 as well, unless its server said otherwise.
  const tables = isIP(address) === 4 ? ["tcp", "tcp6"] : ["tcp6"];
  return tables.some((table) => {
    const listening = new RegExp(`^ *\\d+: 0+:${hexPort} [0-9A-F:]+ 0A `, "m");
    return listening.test(readTable(`/proc/net/${table}`));
  });
}

function readTable(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // no IPv6, or no /proc
  }
}
