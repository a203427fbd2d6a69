// A PostgreSQL of its own from Debian's package: private folder, free port, no password for who is on
// this machine. It can be ended politely or killed, stand still, and start again with what it had.

import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import {
  appendFile,
  chmod,
  chown,
  copyFile,
  mkdtemp,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { findFreePort, listensOn } from "./ports.ts";
import { guardFolder, type ProcessGroup, releaseFolder, startForeground } from "./process.ts";
import { descendantsOf } from "./process-table.ts";

const run = promisify(execFile);
const programsRoot = "/usr/lib/postgresql";
const superuser = "postgres";
const startTimeoutMs = 30_000;
const pollMs = 10;

export interface PostgresWish {
  /** Survives a power cut, and what only looks like one. Off by default: nothing is synced, which is faster. */
  readonly durable?: boolean;
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Lines of pg_hba.conf, before the one that lets everybody on this machine in. */
  readonly access?: readonly string[];
  /** server-cert.pem and server-key.pem, for TLS. */
  readonly certificates?: string;
}

export class LabPostgres implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  #group: ProcessGroup | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
  }

  static async start(wish: PostgresWish = {}): Promise<LabPostgres> {
    // A folder for temporary files that is root's alone, as a run of tests may have, is closed to the server.
    const folder = await mkdtemp(join(isRoot() ? "/tmp" : tmpdir(), "mk-postgres-"));
    guardFolder(folder);
    const server = new LabPostgres(folder, await findFreePort());
    try {
      await giveToServer(folder);
      await server.#prepare(wish);
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A URL without a password, of TCP. */
  url(database: string, user: string = superuser): string {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  /** The same over its Unix socket. */
  socketUrl(database: string, user: string = superuser): string {
    return `postgres://${user}@/${database}?host=${this.#folder}&port=${this.port}`;
  }

  /** A database of its own, owned by a role of the same name, which is made too. */
  async createDatabase(name: string): Promise<void> {
    await this.psql("postgres", `CREATE ROLE ${name} LOGIN`);
    await this.psql("postgres", `CREATE DATABASE ${name} OWNER ${name}`);
  }

  /** Statements by psql, as the superuser or another; what they print, without headings. */
  async psql(database: string, statements: string, user: string = superuser): Promise<string> {
    const { stdout } = await run(
      "psql",
      [
        ...["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", this.#folder, "-p", String(this.port)],
        ...["-U", user, "-d", database, "-c", statements],
      ],
      { maxBuffer: 64 << 20 },
    );
    return stdout.trim();
  }

  /** What pg_dump prints of a database. */
  async dump(database: string): Promise<string> {
    const connection = ["-h", this.#folder, "-p", String(this.port), "-U", superuser];
    const { stdout } = await run("pg_dump", [...connection, database], { maxBuffer: 256 << 20 });
    return stdout;
  }

  /** What a dump holds, into an empty database. */
  async restore(database: string, dump: string): Promise<void> {
    const file = join(this.#folder, `${database}.sql`);
    await writeFile(file, dump);
    const connection = ["-h", this.#folder, "-p", String(this.port), "-U", superuser];
    await run("psql", [
      ...connection,
      "-XAtq",
      "-v",
      "ON_ERROR_STOP=1",
      "-d",
      database,
      "-f",
      file,
    ]);
  }

  /** After an end; resolves when it lets clients in. */
  async start(): Promise<void> {
    const [command, ...args] = asServer(program("postgres"));
    const group = await startForeground(command!, [...args, "-D", this.#data]);
    this.#group = group;
    const deadline = performance.now() + startTimeoutMs;
    while (!(await this.#answers())) {
      if (!group.isAlive()) throw new Error(`postgres ended at once: ${await group.lastWords()}`);
      if (performance.now() > deadline)
        throw new Error(`postgres starts too long: ${group.output()}`);
      await delay(pollMs);
    }
  }

  /** As its own service does it: transactions are rolled back, clients are cut off (SIGINT, "fast"). */
  async stop(): Promise<void> {
    if (!this.#group?.isAlive()) return;
    this.#signalAll("SIGCONT");
    this.#group.signal("SIGINT");
    const deadline = performance.now() + startTimeoutMs;
    while (this.#group.isAlive() && performance.now() < deadline) await delay(pollMs);
    await this.#group.kill();
  }

  /** As a power cut ends it, apart from what the kernel holds. */
  async kill(): Promise<void> {
    this.#signalAll("SIGKILL");
    await this.#group?.kill();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** It and all connections hang. */
  freeze(): void {
    this.#signalAll("SIGSTOP");
  }

  thaw(): void {
    this.#signalAll("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
    releaseFolder(this.#folder);
  }

  get #data(): string {
    return join(this.#folder, "data");
  }

  async #prepare({ durable = false, settings = {}, access = [], certificates }: PostgresWish) {
    const [command, ...args] = asServer(program("initdb"));
    const flags = ["--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "-U", superuser];
    await run(command!, [...args, ...flags, ...(durable ? [] : ["--no-sync"]), "-D", this.#data]);
    const lines = {
      listen_addresses: "'127.0.0.1'",
      port: this.port,
      unix_socket_directories: `'${this.#folder}'`,
      max_connections: 300,
      ...(durable ? {} : { fsync: "off", full_page_writes: "off" }),
      ...(certificates === undefined ? {} : await this.#takeCertificates(certificates)),
      ...settings,
    };
    const text = Object.entries(lines).map(([name, value]) => `${name} = ${value}\n`);
    await appendFile(join(this.#data, "postgresql.conf"), text.join(""));
    const hba = join(this.#data, "pg_hba.conf");
    // The first line that fits decides.
    await writeFile(hba, `${access.join("\n")}\n${await readFile(hba, "utf8")}`);
  }

  async #takeCertificates(from: string): Promise<Record<string, string>> {
    const lines: Record<string, string> = { ssl: "on" };
    for (const [setting, name] of Object.entries({
      ssl_cert_file: "server-cert.pem",
      ssl_key_file: "server-key.pem",
    })) {
      const file = join(this.#folder, name);
      await copyFile(join(from, name), file);
      await chmod(file, 0o600);
      await giveToServer(file);
      lines[setting] = `'${file}'`;
    }
    return lines;
  }

  async #answers(): Promise<boolean> {
    if (!listensOn(join(this.#folder, `.s.PGSQL.${this.port}`))) return false;
    return this.psql("postgres", "SELECT 1").then(
      () => true,
      () => false, // it recovers still
    );
  }

  /** Each of its processes is a group of its own. */
  #signalAll(name: NodeJS.Signals): void {
    const group = this.#group;
    if (!group?.isAlive()) return;
    // The first one first: it starts no other then.
    const own = [group.pid, ...descendantsOf(group.pid).map(({ pid }) => pid)];
    for (const pid of own) {
      try {
        process.kill(pid, name);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // ended meanwhile
      }
    }
  }
}

/** Of the newest server that is installed; other versions' clients may lie beside it. */
function program(name: string): string {
  const folders = readdirSync(programsRoot)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(programsRoot, version, "bin"));
  const newest = folders.find((folder) => existsSync(join(folder, "postgres")));
  if (newest === undefined) throw new Error(`no PostgreSQL server below ${programsRoot}`);
  return join(newest, name);
}

/** PostgreSQL refuses root; Debian's package makes the account. */
function asServer(command: string): string[] {
  if (!isRoot()) return [command];
  return ["setpriv", "--reuid", superuser, "--regid", superuser, "--init-groups", command];
}

async function giveToServer(path: string): Promise<void> {
  if (!isRoot()) return;
  const [uid, gid] = await Promise.all(
    ["-u", "-g"].map(async (flag) => Number((await run("id", [flag, superuser])).stdout)),
  );
  await chown(path, uid!, gid!);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
