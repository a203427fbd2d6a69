/** Real NBD servers for the engine's tests, each on one file, and what nbdkit's log tells of a copy. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { NbdServer } from "../lab/nbd-server.ts";
import * as lab from "../lab/targets.ts";

let sockets = 0;

/** `args`: everything after the options for the socket, e.g. ["file", path]. */
export function startNbdkit(dir: string, ...args: string[]): Promise<NbdServer> {
  return lab.startNbdkit(args, { socket: join(dir, `nbdkit-${sockets++}.sock`) });
}

export function startQemuNbd(dir: string, file: string): Promise<NbdServer> {
  return lab.startQemuNbd({ file, socket: join(dir, `qemu-${sockets++}.sock`) });
}

export function startNbdServer(dir: string, file: string): Promise<NbdServer> {
  return lab.startNbdServer({ folder: dir, exports: [{ name: "disk", file }] });
}

/** The reads that nbdkit's log filter wrote down, in the order in which they began. */
export async function loggedReads(log: string): Promise<{ offset: number; bytes: number }[]> {
  const reads = (await readFile(log, "utf8")).matchAll(/ Read id=\d+ offset=(\w+) count=(\w+)/g);
  return [...reads].map((read) => ({ offset: Number(read[1]), bytes: Number(read[2]) }));
}

export interface LoggedConnection {
  reads: number;
  writes: number;
  /** Reads that were sent while others of this connection were under way. */
  overlapping: number;
}

/**
 * Of each connection what nbdkit's log filter, used without others between it and the client, tells
 * up to the middle one of all writes.
 */
export async function loggedBesideWrites(log: string): Promise<LoggedConnection[]> {
  const connections = new Map<string, LoggedConnection & { reading: number }>();
  const text = await readFile(log, "utf8");
  const writes = [...text.matchAll(/ Write id=/g)].map(({ index }) => index);
  const before = text.slice(0, writes[writes.length >> 1]);
  const lines = before.matchAll(/ connection=(\d+) (\.*)(Read|Write) id=/g);
  for (const [, name = "", answer, kind] of lines) {
    const seen = connections.get(name) ?? { reads: 0, writes: 0, overlapping: 0, reading: 0 };
    connections.set(name, seen);
    if (answer !== "") {
      if (kind === "Read") seen.reading--;
    } else if (kind === "Write") {
      seen.writes++;
    } else {
      seen.reads++;
      if (seen.reading++ > 0) seen.overlapping++;
    }
  }
  return [...connections.values()];
}

/** The first `length` bytes of both files are the same. Compared here, not by the engine. */
export async function sameBytes(a: string, b: string, length: number): Promise<boolean> {
  const [left, right] = await Promise.all([readFile(a), readFile(b)]);
  return left.subarray(0, length).equals(right.subarray(0, length));
}
