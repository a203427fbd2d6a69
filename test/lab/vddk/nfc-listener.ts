// The ESXi host's port 902: a TCP server that greets as vmware-authd does and then stays silent.
// The stand-in library keeps one connection for each open disk; what it reads comes from files.

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

const greeting =
  "220 VMware Authentication Daemon Version 1.10: SSL Required, ServerDaemonProtocol:SOAP, " +
  "MKSDisplayProtocol:VNC , , NFCSSL supported/t\r\n";

export interface NfcListener extends AsyncDisposable {
  /** host:port, for the credentials file. */
  readonly endpoint: string;
  /** Disks open at this moment. */
  readonly connectionCount: number;
  /** The most disks that were open at once since the start, or since `forgetPeak`. */
  readonly peakCount: number;
  forgetPeak(): void;
  /** A daemon that accepts and says nothing (a known trouble of name resolution on the host). */
  setSilent(silent: boolean): void;
  /** The host goes away: every open disk loses its connection. */
  dropAll(): void;
  stop(): Promise<void>;
}

export async function startNfcListener(options: { port?: number } = {}): Promise<NfcListener> {
  const sockets = new Set<Socket>();
  let silent = false;
  let peakCount = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    peakCount = Math.max(peakCount, sockets.size);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.resume();
    if (!silent) socket.write(greeting);
  });
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const dropAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = async () => {
    dropAll();
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    await closed;
  };
  return {
    endpoint: `127.0.0.1:${port}`,
    get connectionCount() {
      return sockets.size;
    },
    get peakCount() {
      return peakCount;
    },
    forgetPeak() {
      peakCount = sockets.size;
    },
    setSilent(value) {
      silent = value;
    },
    dropAll,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
