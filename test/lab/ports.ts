// Ports for servers that cannot listen on port 0 and tell which they got. They are taken from
// below the range that the kernel hands out, so that no outgoing connection takes one in between.

import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const firstPort = 20_000;
const lastPort = 31_999;
const triesMax = 200;

export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, host: "127.0.0.1", exclusive: true });
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

export async function findFreePort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries++) {
    const port = firstPort + Math.floor(Math.random() * (lastPort - firstPort + 1));
    if (await isPortFree(port)) return port;
  }
  throw new Error(`no free port between ${firstPort} and ${lastPort}`);
}

/**
 * Whether this process listens at the port over IPv4. A server that makes itself a daemon before it
 * binds, as nbd-server does, ends silently when the port is taken: whoever has it answers instead.
 */
export function listensAt(pid: number, port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const sockets = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, address, , state]) => address?.endsWith(local) && state === "0A")
    .map((fields) => `socket:[${fields[9]}]`);
  const descriptors = `/proc/${pid}/fd`;
  return whileItExists(() => readdirSync(descriptors), []).some((name) =>
    sockets.includes(whileItExists(() => readlinkSync(join(descriptors, name)), "")),
  );
}

/** Whether somebody listens on this Unix socket; its file is there a moment earlier. */
export function listensOn(socket: string): boolean {
  const listening = "00010000"; // the kernel's __SO_ACCEPTCON
  return readFileSync("/proc/net/unix", "utf8")
    .split("\n")
    .map((line) => line.split(/\s+/))
    .some((fields) => fields[3] === listening && fields.slice(7).join(" ") === socket);
}

/** Processes end, and close descriptors, while they are looked at. */
function whileItExists<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return otherwise;
    throw error;
  }
}

/** The port itself when it is free, else another one. */
export async function preferPort(port: number): Promise<number> {
  return (await isPortFree(port)) ? port : findFreePort();
}
