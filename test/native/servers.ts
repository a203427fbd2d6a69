/** Real NBD servers for the engine's tests: nbdkit, qemu-nbd, nbd-server. Each one can die and come back. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findFreePort, listensAt } from "../lab/ports.ts";

export interface TempDir extends AsyncDisposable {
  path: string;
}

export async function tempDir(): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), "migratekit-native-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** One server on one address, which stays the same over restarts. */
export class NbdServer implements AsyncDisposable {
  readonly uri: string;
  readonly #command: string[];
  readonly #socket: string | undefined;
  readonly #port: number | undefined;
  /** Of a server that makes itself a daemon; it leads its own process group. */
  readonly #pidFile: string | undefined;
  #child: ChildProcess | undefined;
  stderr = "";

  constructor(
    uri: string,
    command: string[],
    place: { socket?: string; port?: number; pidFile?: string },
  ) {
    this.uri = uri;
    this.#command = command;
    this.#socket = place.socket;
    this.#port = place.port;
    this.#pidFile = place.pidFile;
  }

  /** Negative: a process group. */
  get pid(): number {
    if (this.#pidFile === undefined) return this.#child?.pid ?? 0;
    return existsSync(this.#pidFile) ? -Number(readFileSync(this.#pidFile, "utf8")) : 0;
  }

  /** Resolves when the server accepts connections. */
  async start(): Promise<this> {
    if (this.#socket && existsSync(this.#socket)) rmSync(this.#socket);
    const [program, ...args] = this.#command as [string, ...string[]];
    // Without a sanitizer's library that the test itself may run under.
    const { LD_PRELOAD: _, ...env } = process.env;
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.#child = child;
    while (!(await this.#listens())) {
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (ended && !(this.#pidFile && child.exitCode === 0 && this.#daemonLives()))
        throw new Error(`${program} ended at once: ${this.stderr}`);
      await sleep(5);
    }
    return this;
  }

  #daemonLives(): boolean {
    // Not written yet counts as living.
    return this.pid === 0 || existsSync(`/proc/${-this.pid}`);
  }

  async #listens(): Promise<boolean> {
    // A probing connection would use up servers that end after the last client.
    if (this.#socket) return existsSync(this.#socket);
    if (this.#pidFile === undefined) return greets(this.#port ?? 0);
    return listensAt(-this.pid, this.#port ?? 0) && (await greets(this.#port ?? 0));
  }

  /** SIGSTOP makes a server that hangs; SIGCONT ends it. */
  signal(name: NodeJS.Signals): void {
    if (this.pid !== 0) process.kill(this.pid, name);
  }

  async kill(): Promise<void> {
    const pid = this.pid;
    const child = this.#child;
    this.#child = undefined;
    if (!child) return;
    if (this.#pidFile) {
      if (pid !== 0) killAll(pid);
      rmSync(this.#pidFile, { force: true });
      // Not by asking for the process group: dead members that nobody has reaped still count there.
      while (await greets(this.#port ?? 0)) await sleep(2);
      return;
    }
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.#socket) rmSync(this.#socket, { force: true });
  }
}

/**
 * Whether a server at this port of the loopback sends its greeting. It is waited for: nbd-server does
 * not survive a client that leaves before it. One that is killed meanwhile ends the connection
 * without a word, and without an error.
 */
export async function greets(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once("data", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("close", () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

function killAll(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

let sockets = 0;

/** `args`: everything after the options for the socket, e.g. ["file", path]. */
export async function startNbdkit(dir: string, ...args: string[]): Promise<NbdServer> {
  const socket = join(dir, `nbdkit-${sockets++}.sock`);
  return await new NbdServer(
    `nbd+unix:///?socket=${socket}`,
    ["nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, ...args],
    { socket },
  ).start();
}

export async function startQemuNbd(dir: string, file: string): Promise<NbdServer> {
  const socket = join(dir, `qemu-${sockets++}.sock`);
  return await new NbdServer(
    `nbd+unix:///?socket=${socket}`,
    ["qemu-nbd", "--persistent", "--socket", socket, "--format", "raw", "--shared", "16", file],
    { socket },
  ).start();
}

export async function startNbdServer(dir: string, file: string): Promise<NbdServer> {
  // Somebody else may take the port before the server does.
  for (let attempt = 1; ; attempt++) {
    try {
      return await startNbdServerOn(await findFreePort(), dir, file);
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

async function startNbdServerOn(port: number, dir: string, file: string): Promise<NbdServer> {
  const config = join(dir, `nbd-server-${port}.conf`);
  const pidFile = join(dir, `nbd-server-${port}.pid`);
  await writeFile(
    config,
    [
      ...["[generic]", `port = ${port}`, "listenaddr = 127.0.0.1"],
      ...["[disk]", `exportname = ${file}`, "flush = true", "fua = true", "trim = true"],
    ].join("\n"),
  );
  return await new NbdServer(
    `nbd://127.0.0.1:${port}/disk`,
    ["nbd-server", "-C", config, "-p", pidFile],
    {
      port,
      pidFile,
    },
  ).start();
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
