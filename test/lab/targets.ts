// The other end: real NBD servers over plain files, and the real TLS tunnel in front of them.
// All listen on 127.0.0.1. Each can be stopped, killed and started again on the same port.

import { execFile } from "node:child_process";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { findFreePort, listensAt } from "./ports.ts";
import { greets, type ProcessGroup, startDaemon, startForeground } from "./process.ts";

const run = promisify(execFile);
const startTimeoutMs = 10_000;
const portTriesMax = 5;

export interface TargetServer extends AsyncDisposable {
  readonly kind: "nbd-server" | "qemu-nbd" | "stunnel" | "nbdkit";
  readonly port: number;
  /** nbd://127.0.0.1:PORT/EXPORT with the name percent-encoded. */
  uri(exportName?: string): string;
  /** Ends politely; connections in progress are closed. Again is harmless. */
  stop(): Promise<void>;
  /** Ends at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts again on the same port with the same exports, ended before or not. */
  restart(): Promise<void>;
  isRunning(): Promise<boolean>;
}

/** A volume as the CloudStack side has it: a sparse file of exactly this size. Empties an old one. */
export async function createVolume(path: string, capacityBytes: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, "w");
  await file.truncate(capacityBytes);
}

type Starter = (port: number) => Promise<ProcessGroup>;

async function waitForNbd(group: ProcessGroup, port: number): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  // Whoever else has the port greets too; a server of ours that could not bind it ends.
  while (!(listensAt(group.pid, port) && (await greets(port, "NBDMAGIC", 1000)))) {
    if (!(await group.isAlive())) throw new Error(`server on ${port} died: ${group.output()}`);
    if (Date.now() > deadline) throw new Error(`no NBD greeting on ${port}: ${group.output()}`);
    await delay(20);
  }
}

async function startOn(start: Starter, port: number): Promise<ProcessGroup> {
  const group = await start(port);
  try {
    await waitForNbd(group, port);
    return group;
  } catch (error) {
    await group.kill();
    throw error;
  }
}

/** Without a wish for a port others are tried, should somebody take the free one in between. */
async function startServer(
  kind: TargetServer["kind"],
  start: Starter,
  wish?: number,
): Promise<TargetServer> {
  let group: ProcessGroup | undefined;
  let port = 0;
  for (let tries = 1; !group; tries++) {
    port = wish ?? (await findFreePort());
    group = await startOn(start, port).catch((error: unknown) => {
      if (wish || tries === portTriesMax) throw error;
      return undefined;
    });
  }
  let current = group;
  const server: TargetServer = {
    kind,
    port,
    uri: (exportName = "") => `nbd://127.0.0.1:${port}/${encodeURIComponent(exportName)}`,
    stop: () => current.stop(),
    kill: () => current.kill(),
    restart: async () => {
      await current.stop();
      current = await startOn(start, port);
    },
    isRunning: () => current.isAlive(),
    [Symbol.asyncDispose]: () => current.stop(),
  };
  return server;
}

export interface NbdServerExport {
  name: string;
  file: string;
  readOnly?: boolean;
}

function nbdServerConfig(port: number, exports: NbdServerExport[]): string {
  const generic = `[generic]\nport = ${port}\nlistenaddr = 127.0.0.1\nallowlist = false\n`;
  const sections = exports.map(
    ({ name, file, readOnly }) =>
      `[${name}]\nexportname = ${file}\nreadonly = ${readOnly === true}\n` +
      "flush = true\nfua = true\ntrim = true\n",
  );
  return [generic, ...sections].join("\n");
}

/** nbd-server with one export per volume; it forks a process for each connection. */
export async function startNbdServer(options: {
  exports: NbdServerExport[];
  /** Where its configuration and pid file go. */
  folder: string;
  port?: number;
}): Promise<TargetServer> {
  const { exports, folder } = options;
  await mkdir(folder, { recursive: true });
  const start: Starter = async (port) => {
    const config = join(folder, `nbd-server-${port}.conf`);
    const pidFile = join(folder, `nbd-server-${port}.pid`);
    await rm(pidFile, { force: true });
    await writeFile(config, nbdServerConfig(port, exports));
    return startDaemon("nbd-server", ["-C", config, "-p", pidFile], pidFile);
  };
  return startServer("nbd-server", start, options.port);
}

/** qemu-nbd for one volume under one export name. */
export async function startQemuNbd(options: {
  file: string;
  exportName?: string;
  readOnly?: boolean;
  discard?: "ignore" | "unmap";
  detectZeroes?: "off" | "on" | "unmap";
  port?: number;
}): Promise<TargetServer> {
  const args = (port: number) => [
    ...["-f", "raw", "-b", "127.0.0.1", "-p", String(port), "-x", options.exportName ?? ""],
    ...["--persistent", "--shared=16", `--discard=${options.discard ?? "unmap"}`],
    `--detect-zeroes=${options.detectZeroes ?? "off"}`,
    ...(options.readOnly ? ["--read-only"] : []),
    options.file,
  ];
  return startServer("qemu-nbd", (port) => startForeground("qemu-nbd", args(port)), options.port);
}

/**
 * nbdkit's file plugin behind filters: targets that lack an ability ("nozero"), fail ("error") or
 * write down every request ("log" with logfile=…). `settings` go to the filters, as key=value.
 */
export async function startNbdkitTarget(options: {
  file: string;
  filters?: string[];
  settings?: string[];
  port?: number;
}): Promise<TargetServer> {
  const filters = (options.filters ?? []).map((name) => `--filter=${name}`);
  const args = (port: number) => [
    ...["-f", "-i", "127.0.0.1", "-p", String(port), ...filters],
    ...["file", options.file, ...(options.settings ?? [])],
  ];
  return startServer("nbdkit", (port) => startForeground("nbdkit", args(port)), options.port);
}

/** A pair of stunnels: `client` is where migratekit connects, `server` the CloudStack side's end. */
export interface StunnelPair extends AsyncDisposable {
  readonly client: TargetServer;
  readonly server: ProcessGroup;
  /** The port on 127.0.0.1 that migratekit connects to. */
  readonly port: number;
  /** The tunnel breaks: both ends vanish; the NBD server stays. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

async function createCertificate(folder: string): Promise<string> {
  const pem = join(folder, "stunnel.pem");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const subject = ["-subj", "/CN=cloudstack-nbd.lab", "-days", "2"];
  await run("openssl", ["req", "-x509", ...key, ...subject, "-keyout", pem, "-out", `${pem}.crt`]);
  return pem;
}

async function startStunnel(folder: string, name: string, lines: string[]): Promise<ProcessGroup> {
  const config = join(folder, `${name}.conf`);
  const common = ["foreground = yes", "pid =", "debug = notice", "syslog = no", "[nbd]"];
  await writeFile(config, `${[...common, ...lines].join("\n")}\n`);
  return startForeground("stunnel", [config]);
}

/** As on the appliance: a plain local port, TLS between, the NBD server's port behind. */
export async function startStunnelPair(options: {
  targetPort: number;
  folder: string;
  port?: number;
}): Promise<StunnelPair> {
  const { folder, targetPort } = options;
  await mkdir(folder, { recursive: true });
  const pem = await createCertificate(folder);
  const certificate = [`cert = ${pem}.crt`, `key = ${pem}`];
  let tlsPort = await findFreePort();
  const startServerEnd = () =>
    startStunnel(folder, "stunnel-server", [
      ...[`accept = 127.0.0.1:${tlsPort}`, `connect = 127.0.0.1:${targetPort}`],
      ...certificate,
    ]);
  const startClientEnd: Starter = (port) =>
    startStunnel(folder, "stunnel-client", [
      ...["client = yes", `accept = 127.0.0.1:${port}`, `connect = 127.0.0.1:${tlsPort}`],
      ...[`CAfile = ${pem}.crt`, "verifyPeer = yes"],
    ]);
  let server = await startServerEnd();
  if (!(await listens(server, tlsPort))) {
    tlsPort = await findFreePort();
    server = await startServerEnd();
  }
  const client = await startServer("stunnel", startClientEnd, options.port).catch(
    async (error: unknown) => {
      await server.kill();
      throw error;
    },
  );
  const end = (how: "stop" | "kill") => async () => {
    await client[how]();
    await server[how]();
  };
  return {
    client,
    get server() {
      return server;
    },
    port: client.port,
    kill: end("kill"),
    stop: end("stop"),
    restart: async () => {
      await end("stop")();
      server = await startServerEnd();
      await listens(server, tlsPort);
      await client.restart();
    },
    [Symbol.asyncDispose]: end("stop"),
  };
}

/** False when stunnel gave up at once, which it does when it cannot bind its port. */
async function listens(group: ProcessGroup, port: number): Promise<boolean> {
  const deadline = Date.now() + startTimeoutMs;
  while (await group.isAlive()) {
    if (listensAt(group.pid, port)) return true;
    if (Date.now() > deadline) throw new Error(`stunnel does not listen: ${group.output()}`);
    await delay(20);
  }
  return false;
}
