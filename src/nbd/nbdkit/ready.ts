/** Finding out whether an NBD server listens on a Unix socket, without opening its export. */
import { createConnection, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What every server of the newstyle protocol sends first (NBD protocol, "Newstyle negotiation"). */
const greeting = Buffer.from("NBDMAGICIHAVEOPT", "latin1");
const greetingBytes = greeting.length + 2;

/**
 * Resolves once a server answers at `socketPath` with the NBD greeting; keeps trying until `signal`
 * aborts and then rejects with its reason. The connection is ended with NBD_OPT_ABORT before the
 * export is opened: VDDK would otherwise log in to the host for nothing.
 */
export async function waitForNbdServer(socketPath: string, signal: AbortSignal): Promise<void> {
  for (let delayMs = 10; ; delayMs = Math.min(2 * delayMs, 200)) {
    signal.throwIfAborted();
    if (await greets(socketPath, signal)) return;
    await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

function greets(socketPath: string, signal: AbortSignal): Promise<boolean> {
  const socket = createConnection(socketPath);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let received = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < greetingBytes) return;
    resolve(received.subarray(0, greeting.length).equals(greeting));
    endPolitely(socket);
  });
  socket.on("error", () => resolve(false));
  socket.on("close", () => resolve(false));
  const giveUp = () => socket.destroy();
  signal.addEventListener("abort", giveUp, { once: true });
  return promise.finally(() => signal.removeEventListener("abort", giveUp));
}

/** Client flags, then the option "abort" without data; the server closes the connection. */
function endPolitely(socket: Socket): void {
  const farewell = Buffer.alloc(4 + 8 + 4 + 4);
  farewell.writeUInt32BE(1, 0); // NBD_FLAG_C_FIXED_NEWSTYLE
  farewell.write("IHAVEOPT", 4, "latin1");
  farewell.writeUInt32BE(2, 12); // NBD_OPT_ABORT
  socket.removeAllListeners("data");
  socket.resume();
  socket.end(farewell);
  socket.setTimeout(1_000, () => socket.destroy());
  socket.unref();
}
