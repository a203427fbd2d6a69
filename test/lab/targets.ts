// The other end: real NBD servers over plain files, and the real TLS tunnel in front of them.
// All listen on 127.0.0.1 or a Unix socket. Each can be stopped, killed and started again at its place.

import { execFile } from "node:child_process";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { NbdServer, type Place } from "./nbd-server.ts";
import { findFreePort, listensAt } from "./ports.ts";
import { type ProcessGroup, startDaemon, startForeground } from "./process.ts";
import type { NbdCertificates } from "./tls.ts";

const run = promisify(execFile);
const startTimeoutMs = 10_000;

/** A volume as the CloudStack side has it: a sparse file of exactly this size. Empties an old one. */
export async function createVolume(path: string, capacityBytes: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await using file = await open(path, "w");
  await file.truncate(capacityBytes);
}

/** Where a server shall listen. [a free port] */
export interface PlaceWish {
  port?: number;
  socket?: string;
}

function placeOf({ port, socket }: PlaceWish): Place | undefined {
  if (socket !== undefined) return { socket };
  return port === undefined ? undefined : { port };
}

function portOf(place: Place): number {
  if ("socket" in place) throw new Error(`only at a port, not at ${place.socket}`);
  return place.port;
}

export interface NbdServerExport {
  name: string;
  file: string;
  readOnly?: boolean;
  /** Instead of or besides flush, fua and trim, e.g. {flush: "false"} or {copyonwrite: "true"}. */
  settings?: Readonly<Record<string, string>>;
}

function nbdServerConfig(port: number, exports: NbdServerExport[], tls?: NbdCertificates): string {
  const secured = tls
    ? [`certfile = ${tls.serverDir}/server-cert.pem`, `keyfile = ${tls.serverDir}/server-key.pem`]
        .concat(`cacertfile = ${tls.caFile}`, "force_tls = true\n")
        .join("\n")
    : "";
  const generic = `[generic]\nport = ${port}\nlistenaddr = 127.0.0.1\nallowlist = false\n${secured}`;
  const sections = exports.map(({ name, file, readOnly, settings }) => {
    const readonly = String(readOnly === true);
    const all = {
      exportname: file,
      readonly,
      flush: "true",
      fua: "true",
      trim: "true",
      ...settings,
    };
    const lines = Object.entries(all).map(([key, value]) => `${key} = ${value}\n`);
    return `[${name}]\n${lines.join("")}`;
  });
  return [generic, ...sections].join("\n");
}

/** nbd-server with one export per volume; it forks a process for each connection. */
export async function startNbdServer(options: {
  exports: NbdServerExport[];
  /** Where its configuration and pid file go. */
  folder: string;
  port?: number;
  /** Takes nothing but TLS; clients say nbds://localhost. */
  tls?: NbdCertificates;
}): Promise<NbdServer> {
  const { exports, folder, tls } = options;
  await mkdir(folder, { recursive: true });
  const start = async (place: Place) => {
    const port = portOf(place);
    const config = join(folder, `nbd-server-${port}.conf`);
    const pidFile = join(folder, `nbd-server-${port}.pid`);
    await rm(pidFile, { force: true });
    await writeFile(config, nbdServerConfig(port, exports, tls));
    return startDaemon("nbd-server", ["-C", config, "-p", pidFile], pidFile);
  };
  const exportName = exports[0]?.name;
  return NbdServer.start({ kind: "nbd-server", exportName, start }, placeOf(options));
}

/** qemu-nbd for one volume under one export name. */
export async function startQemuNbd(
  options: {
    file: string;
    exportName?: string;
    readOnly?: boolean;
    discard?: "ignore" | "unmap";
    detectZeroes?: "off" | "on" | "unmap";
    /** Takes nothing but TLS; clients say nbds://localhost. */
    tls?: NbdCertificates;
  } & PlaceWish,
): Promise<NbdServer> {
  const { file, exportName = "" } = options;
  const args = (place: Place) => [
    ...("socket" in place ? ["-k", place.socket] : ["-b", "127.0.0.1", "-p", String(place.port)]),
    ...["-f", "raw", "-x", exportName, "--persistent", "--shared=16"],
    `--discard=${options.discard ?? "unmap"}`,
    `--detect-zeroes=${options.detectZeroes ?? "off"}`,
    ...(options.readOnly ? ["--read-only"] : []),
    ...(options.tls
      ? [
          "--object",
          `tls-creds-x509,id=tls,endpoint=server,verify-peer=on,dir=${options.tls.serverDir}`,
          "--tls-creds=tls",
        ]
      : []),
    file,
  ];
  const start = (place: Place) => startForeground("qemu-nbd", args(place));
  return NbdServer.start({ kind: "qemu-nbd", exportName, start }, placeOf(options));
}

/** nbdkit with filters, plugin and their settings, as its command line has them. */
export async function startNbdkit(args: string[], wish: PlaceWish = {}): Promise<NbdServer> {
  const listen = (place: Place) =>
    "socket" in place ? ["-U", place.socket] : ["-i", "127.0.0.1", "-p", String(place.port)];
  const start = (place: Place) => startForeground("nbdkit", ["-f", ...listen(place), ...args]);
  return NbdServer.start({ kind: "nbdkit", start }, placeOf(wish));
}

/**
 * nbdkit's file plugin behind filters: targets that lack an ability ("nozero"), fail ("error") or
 * write down every request ("log" with logfile=…). `settings` go to the filters, as key=value.
 */
export async function startNbdkitTarget(
  options: { file: string; filters?: string[]; settings?: string[] } & PlaceWish,
): Promise<NbdServer> {
  const { file, filters = [], settings = [] } = options;
  const names = filters.map((name) => `--filter=${name}`);
  return startNbdkit([...names, "file", file, ...settings], options);
}

/** A pair of stunnels: `client` is where migratekit connects, `server` the CloudStack side's end. */
export interface StunnelPair extends AsyncDisposable {
  readonly client: NbdServer;
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
  const startClientEnd = (place: Place) =>
    startStunnel(folder, "stunnel-client", [
      ...["client = yes", `accept = 127.0.0.1:${portOf(place)}`, `connect = 127.0.0.1:${tlsPort}`],
      ...[`CAfile = ${pem}.crt`, "verifyPeer = yes"],
    ]);
  let server = await startServerEnd();
  if (!(await listens(server, tlsPort))) {
    tlsPort = await findFreePort();
    server = await startServerEnd();
  }
  const client = await NbdServer.start(
    { kind: "stunnel", start: startClientEnd },
    placeOf(options),
  ).catch(async (error: unknown) => {
    await server.kill();
    throw error;
  });
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
  while (group.isAlive()) {
    if (listensAt(group.pid, port)) return true;
    if (Date.now() > deadline) throw new Error(`stunnel does not listen: ${group.output()}`);
    await delay(20);
  }
  return false;
}
