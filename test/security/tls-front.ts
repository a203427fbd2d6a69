// Stands between migratekit and the laboratory's vCenter with a certificate of its own, as a new
// certificate, a proxy or an attacker would; counts what was sent to it inside TLS.

import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { Leaf } from "../vmware/certificates.ts";

export interface TlsFront extends AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly endpoint: string;
  connections: number;
  /** Bytes that clients sent inside TLS. */
  applicationBytes: number;
  /** Shows another certificate from now on. */
  present(leaf: Leaf): void;
  /** Resolves when every connection has been closed, and so everything sent was counted. */
  allClosed(): Promise<void>;
}

export async function startTlsFront(leaf: Leaf, upstream: string): Promise<TlsFront> {
  const [host, port] = upstream.split(":");
  const open = new Set<Socket | TLSSocket>();
  const keep = <T extends Socket>(socket: T): T => {
    open.add(socket);
    socket.on("error", () => {});
    return socket.on("close", () => open.delete(socket)) as T;
  };
  const server = createServer({ key: leaf.key, cert: leaf.cert }, (client) => {
    const behind = keep(connect({ host, port: Number(port), rejectUnauthorized: false }));
    client.on("error", () => {});
    client.on("data", (chunk: Buffer) => {
      front.applicationBytes += chunk.length;
      behind.write(chunk);
    });
    behind.on("data", (chunk: Buffer) => client.write(chunk));
    client.on("close", () => behind.destroy());
    behind.on("close", () => client.destroy());
  });
  server.on("tlsClientError", () => {});
  server.on("connection", (socket: Socket) => {
    front.connections += 1;
    keep(socket);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const front: TlsFront = {
    endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: 0,
    applicationBytes: 0,
    present: (other) => server.setSecureContext({ key: other.key, cert: other.cert }),
    async allClosed() {
      for (const socket of open) if (!socket.closed) await once(socket, "close");
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return front;
}
