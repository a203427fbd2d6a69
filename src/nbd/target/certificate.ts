/** The certificates that TLS to a target rests on, and how long they are valid. libnbd shows none. */
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { NbdEndpoint } from "../copy-engine/copy-engine.ts";
import { parseNbdUri, usesTls } from "./uri.ts";

export interface SeenCertificate {
  readonly whose: "server" | "client";
  readonly subject: string;
  readonly validTo: Date;
}

/** github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed newstyle negotiation. */
const greetingBytes = 18;
const optionReplyBytes = 20;
const fixedNewstyle = 1;
const optionStartTls = 5;
const replyAck = 1;

/**
 * Our own certificate, if there is one, and the server's, which is asked for it; nothing is verified. None for
 * targets without TLS or with pre-shared keys.
 * @throws Error of the connection, or of a file that holds no certificate; the signal's reason
 */
export async function certificatesOf(
  endpoint: NbdEndpoint,
  signal: AbortSignal,
): Promise<SeenCertificate[]> {
  const target = parseNbdUri(endpoint.uri);
  const psk = endpoint.tlsPskFile ?? target.parameters.get("tls-psk-file");
  if (!usesTls(target) || psk !== undefined) return [];
  const dir = endpoint.tlsCertDir ?? target.parameters.get("tls-certificates");
  const own = dir === undefined ? undefined : await ownCertificate(dir);
  const server = await serverCertificate(target, { cert: own?.cert, key: own?.key }, signal);
  return [
    ...(own ? [seen("client", new X509Certificate(own.cert))] : []),
    ...(server ? [seen("server", server)] : []),
  ];
}

function seen(whose: SeenCertificate["whose"], { subject, validTo }: X509Certificate) {
  return { whose, subject: subject.replaceAll("\n", ", "), validTo: new Date(validTo) };
}

async function ownCertificate(dir: string): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  const cert = await readFile(join(dir, "client-cert.pem")).catch(() => undefined);
  return cert && { cert, key: await readFile(join(dir, "client-key.pem")) };
}

/** As far as TLS goes, and no further: no export is opened. */
async function serverCertificate(
  { host, port, socketPath }: ReturnType<typeof parseNbdUri>,
  own: Pick<ConnectionOptions, "cert" | "key">,
  signal: AbortSignal,
): Promise<X509Certificate | undefined> {
  const socket = socketPath === undefined ? connect(port ?? 0, host ?? "") : connect(socketPath);
  const stop = () => socket.destroy(signal.reason as Error);
  signal.addEventListener("abort", stop, { once: true });
  try {
    signal.throwIfAborted();
    await startTls(socket);
    const tls = connectTls({ socket, rejectUnauthorized: false, ...own });
    await new Promise((resolve, reject) => {
      tls.once("secureConnect", resolve).once("error", reject);
    });
    return tls.getPeerX509Certificate();
  } finally {
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}

async function startTls(socket: Socket): Promise<void> {
  const greeting = await take(socket, greetingBytes);
  if (greeting.toString("latin1", 0, 16) !== "NBDMAGICIHAVEOPT")
    throw new Error("it is no NBD server");
  const request = Buffer.alloc(20);
  request.writeUInt32BE(fixedNewstyle);
  request.write("IHAVEOPT", 4, "latin1");
  request.writeUInt32BE(optionStartTls, 12);
  socket.write(request);
  const reply = await take(socket, optionReplyBytes);
  if (reply.readUInt32BE(12) !== replyAck) throw new Error("the server does not offer TLS");
}

/** Servers send their greeting in pieces; what has come is taken at once, so that only more of it wakes us. */
async function take(socket: Socket, bytes: number): Promise<Buffer> {
  let taken = Buffer.alloc(0);
  for (;;) {
    const more = socket.read() as Buffer | null;
    if (more) taken = Buffer.concat([taken, more]);
    if (taken.length > bytes) socket.unshift(taken.subarray(bytes));
    if (taken.length >= bytes) return taken.subarray(0, bytes);
    if (socket.destroyed || socket.readableEnded)
      throw socket.errored ?? new Error("the server hung up");
    await new Promise<void>((resolve, reject) => {
      const events = ["readable", "end", "close"];
      const done = () => {
        for (const event of events) socket.off(event, done);
        socket.off("error", reject);
        resolve();
      };
      for (const event of events) socket.on(event, done);
      socket.once("error", reject);
    });
  }
}
