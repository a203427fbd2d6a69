// A server that reads HTTP requests by itself and writes whatever bytes it is told to.

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createServer as createTlsServer, TLSSocket } from "node:tls";
import type { Leaf } from "../vmware/certificates.ts";
import type { RawAnswer } from "./http-mischief.ts";

export interface RawRequest {
  readonly head: string;
  readonly body: string;
}

export interface RawServer extends AsyncDisposable {
  readonly port: number;
}

/** Over TLS with a `leaf`. */
export async function startRawServer(
  answerTo: (request: RawRequest) => RawAnswer,
  leaf?: Leaf,
): Promise<RawServer> {
  const open = new Set<Socket>();
  const serve = (socket: Socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    let held: Buffer = Buffer.alloc(0);
    let silent = false;
    socket.on("data", (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      for (let taken = takeRequest(held); taken; taken = takeRequest(held)) {
        held = taken.rest;
        if (silent) continue;
        const answer = answerTo(taken.request);
        silent = answer.after === "silence" || answer.endlessly !== undefined;
        void send(socket, answer);
      }
    });
  };
  const server = leaf
    ? createTlsServer({ key: leaf.key, cert: leaf.cert }, serve)
    : createServer(serve);
  server.on("tlsClientError", () => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function takeRequest(held: Buffer): { request: RawRequest; rest: Buffer } | undefined {
  const end = held.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = held.toString("latin1", 0, end);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  const bodyEnd = end + 4 + length;
  if (held.length < bodyEnd) return undefined;
  const request = { head, body: held.toString("utf8", end + 4, bodyEnd) };
  return { request, rest: held.subarray(bodyEnd) };
}

const dropsMax = 40;

async function send(socket: Socket, { bytes, after, endlessly, drip }: RawAnswer): Promise<void> {
  if (drip) {
    for (let at = 0; at < Math.min(bytes.length, dropsMax) && !socket.destroyed; at++) {
      socket.write(bytes.subarray(at, at + 1));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } else socket.write(bytes);
  if (endlessly) {
    const more = () => void (socket.destroyed || socket.write(endlessly, () => setImmediate(more)));
    more();
  }
  if (after === "close") socket.end();
  if (after === "reset") socket instanceof TLSSocket ? socket.destroy() : socket.resetAndDestroy();
}
