/** The field's servers, and what their books said while and after somebody copied. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Tools } from "../tools.ts";
import type { FieldServer, Line, Pace } from "./cells.ts";

/** What a TCP connection of Linux has on its way at most: the largest of net.ipv4.tcp_wmem. */
const windowBytes = 4 * 1024 * 1024;

/** One line of a server's books, ten a second. */
export interface Entry {
  /** Of the monotonic clock. */
  ms: number;
  deliveredBytes: number;
  connections: number;
  opening: number;
  opened: number;
  refused: number;
  dirtyBytes: number;
  flushes: number;
}

/** In blocks of 4 KiB, at the end. */
export interface Verdict {
  wrong: number;
  twice: number;
  missing: number;
}

export interface FieldEnd extends AsyncDisposable {
  uri: string;
  entries: Entry[];
  end(): Promise<Verdict>;
}

export async function startFieldServer(
  tools: Tools,
  server: FieldServer,
  place: { socket?: string; sizeBytes: number; capacityBytes?: number; target?: boolean },
): Promise<FieldEnd> {
  const { sizeBytes, capacityBytes = sizeBytes, socket, target } = place;
  const values = {
    ...{ size: sizeBytes, capacity: capacityBytes, target: target ? 1 : 0 },
    ...{ jitter: server.jitter, first_us: server.firstUs, open_ms: server.openMs },
    ...{ clients: server.clients, cache: server.cacheBytes, drain: server.drainRate },
    ...{ minimum_block: server.minimumBlockBytes, socket },
  };
  const args = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`);
  const child = spawn(tools.field, [...args, ...server.paces.map(paceText)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const entries: Entry[] = [];
  let verdict: Verdict | undefined;
  const port = await firstLine(child, (line) => {
    const numbers = line
      .split(" ")
      .slice(line.startsWith("end") ? 1 : 0)
      .map(Number);
    if (line.startsWith("end")) {
      const [wrong = 0, twice = 0, missing = 0] = numbers;
      verdict = { wrong, twice, missing };
    } else entries.push(entryOf(numbers));
  });
  return {
    uri: socket === undefined ? `nbd://127.0.0.1:${port}/` : `nbd+unix:///?socket=${socket}`,
    entries,
    end: async () => {
      await kill(child, "SIGTERM");
      if (!verdict) throw new Error("a server of the field ended without a word");
      return verdict;
    },
    [Symbol.asyncDispose]: () => kill(child, "SIGKILL"),
  };
}

/** Stands before a target. */
export async function startLine(
  tools: Tools,
  line: Line,
  targetUri: string,
): Promise<{ uri: string } & AsyncDisposable> {
  const url = new URL(targetUri);
  const delayUs = (line.roundTripMs * 1000) / 2;
  const args = [url.port, delayUs, line.rate, windowBytes].map(String);
  const child = spawn(tools.delayLine, args, { stdio: ["ignore", "pipe", "inherit"] });
  const port = await firstLine(child, () => {});
  return {
    uri: `nbd://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () => kill(child, "SIGKILL"),
  };
}

function paceText({ atMs = 0, latencyMs = 0, parallel = 16, rate = 0, totalRate = 0 }: Pace) {
  return `pace=${atMs}:${Math.round(latencyMs * 1000)}:${parallel}:${rate}:${totalRate}`;
}

function entryOf(numbers: number[]): Entry {
  const [ms = 0, deliveredBytes = 0, , connections = 0, opening = 0, opened = 0] = numbers;
  const [refused = 0, dirtyBytes = 0, flushes = 0] = numbers.slice(6);
  return {
    ...{ ms, deliveredBytes, connections, opening, opened },
    ...{ refused, dirtyBytes, flushes },
  };
}

/** The port from the line `listening PORT`; later lines go to the listener. */
async function firstLine(child: ChildProcess, onLine: (line: string) => void): Promise<number> {
  const lines = createInterface({ input: child.stdout! });
  return await new Promise((resolve, reject) => {
    child.once("close", () => reject(new Error("a server of the field did not start")));
    lines.on("line", (line) => {
      if (line.startsWith("listening")) resolve(Number(line.split(" ")[1]));
      else onLine(line);
    });
  });
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill(signal);
  await closed;
}
