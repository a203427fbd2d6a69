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
  /**
   * From now on, of which group (an ESXi host, say) each opened disk is, by its path in the datastore, and the
   * most of each that were open at once since then, or since `forgetPeak`.
   */
  countBy(groupOf: (path: string) => string): ReadonlyMap<string, number>;
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
  let groups: Groups | undefined;
  const server = createServer((socket) => {
    sockets.add(socket);
    peakCount = Math.max(peakCount, sockets.size);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.once("data", (said: Buffer) => {
      const leave = groups?.enter(said.toString().trimEnd());
      if (leave) socket.on("close", leave);
    });
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
      groups?.forgetPeaks();
    },
    countBy(groupOf) {
      groups = new Groups(groupOf);
      return groups.peaks;
    },
    setSilent(value) {
      silent = value;
    },
    dropAll,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

class Groups {
  readonly peaks = new Map<string, number>();
  readonly #groupOf: (path: string) => string;
  readonly #open = new Map<string, number>();

  constructor(groupOf: (path: string) => string) {
    this.#groupOf = groupOf;
  }

  forgetPeaks(): void {
    for (const [group, open] of this.#open) this.peaks.set(group, open);
  }

  /** Gives what is to be called when the disk is closed. */
  enter(path: string): () => void {
    const group = this.#groupOf(path);
    const add = (count: number) => {
      const open = (this.#open.get(group) ?? 0) + count;
      this.#open.set(group, open);
      this.peaks.set(group, Math.max(open, this.peaks.get(group) ?? 0));
    };
    add(1);
    return () => add(-1);
  }
}
