import { parseNbdUri } from "../../nbd/target/uri.ts";

/** A line that breaks is made again for so long before a read fails. */
const reconnectSeconds = 60;

/**
 * How QEMU names a target (its "json:" file names); undefined where it needs a bridge: QEMU takes
 * certificates and users by objects of its own, not by a file name.
 */
export function backingOf(uri: string): string | undefined {
  const { scheme, host, port, socketPath, exportName, username } = parseNbdUri(uri);
  if (scheme.startsWith("nbds") || username !== undefined) return undefined;
  const server =
    socketPath === undefined
      ? { type: "inet", host, port: String(port) }
      : { type: "unix", path: socketPath };
  const file = { driver: "nbd", server, export: exportName, "reconnect-delay": reconnectSeconds };
  return `json:${JSON.stringify({ driver: "raw", file })}`;
}
