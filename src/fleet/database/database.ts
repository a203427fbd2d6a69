import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, ClientConfig, Pool, PoolClient, QueryResult } from "pg";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { addSecret } from "../../logger.ts";
import { readSecretFile } from "../../password-file.ts";
import { retry } from "../../retry.ts";
import { type DatabaseAddress, parseDatabaseAddress } from "./address.ts";
import { databaseFailure, stateOf } from "./failure.ts";
import { Row } from "./row.ts";

/** A server that hangs is noticed after so long: a lease lives for at least three of these. */
export const queryTimeoutMs = 10_000;
/** Of a plan of thousands of VMs. */
const longQueryTimeoutMs = 120_000;
const connectTimeoutMs = 5_000;
const keepAliveMs = 10_000;
/** What stands still within a transaction holds its locks: such a process is cut off. */
const idleInTransactionMs = 30_000;
const idleMs = 60_000;
/** Of one worker: a claim, a push and renewals at the same time. */
const connectionsMax = 8;
const closeTimeoutMs = 2_000;

const viewMode = "ISOLATION LEVEL REPEATABLE READ READ ONLY";

/** PostgreSQL's "try this transaction again": deadlock, and serialization. */
const conflicts = ["40P01", "40001"];
const conflictAttemptsMax = 5;

export type SqlValue = string | number | bigint | boolean | Date | Uint8Array | null | object;

/** One transaction, or each statement for itself. */
export interface Queries {
  /** A statement with a name, always the same text, is planned once for each connection. */
  query(text: string, values?: readonly SqlValue[], name?: string): Promise<Row[]>;
}

export interface DatabaseOptions {
  /** Shown by pg_stat_activity. */
  readonly application: string;
}

/**
 * The pool of connections to a fleet's database: timeouts on everything, so that a server that hangs is
 * an error and no hang, and errors in the catalogue's words. pg itself is loaded with the first call.
 */
export class FleetDatabase implements Queries, AsyncDisposable {
  readonly address: DatabaseAddress;
  readonly #passwordFile: string | undefined;
  readonly #logger: Logger;
  readonly #application: string;
  #pool: Promise<Pool> | undefined;
  readonly #clients = new Set<Client>();

  /** @throws MigratekitError `usage` for a URL or password file that cannot be used */
  constructor(
    url: string,
    passwordFile: string | undefined,
    logger: Logger,
    { application }: DatabaseOptions,
  ) {
    this.address = parseDatabaseAddress(url);
    this.#passwordFile = passwordFile;
    this.#logger = logger;
    this.#application = application;
    if (passwordFile !== undefined) this.#readPassword((warning) => logger.warn(warning));
  }

  /** One statement: again where PostgreSQL asks for that, as of a transaction. */
  async query(text: string, values: readonly SqlValue[] = [], name?: string): Promise<Row[]> {
    return againAtConflicts(() => this.#with((client) => ask(client, { text, values, name })));
  }

  /**
   * `body` in one transaction, which is durable when this resolves. It is called again where PostgreSQL
   * asks for that (deadlock): it must have no effect of its own outside. No statement may take longer
   * than `timeoutMs`.
   */
  async transaction<T>(
    body: (queries: Queries) => Promise<T>,
    timeoutMs = longQueryTimeoutMs,
  ): Promise<T> {
    return againAtConflicts(() => this.#with((client) => transact(client, body, timeoutMs)));
  }

  /** `body`, which only reads, on one consistent view of the database. */
  async view<T>(body: (queries: Queries) => Promise<T>): Promise<T> {
    return this.#with((client) => transact(client, body, longQueryTimeoutMs, viewMode));
  }

  /** A connection of its own, connected: for LISTEN. The caller ends it. */
  async connect(): Promise<Client> {
    const { Client } = await loadPg();
    const client = new Client(this.#config());
    client.on("error", (error) =>
      this.#logger.debug({ error: messageOf(error) }, "the bell's connection"),
    );
    try {
      await client.connect();
    } catch (error) {
      throw this.failure(error);
    }
    return client;
  }

  failure(error: unknown): unknown {
    return databaseFailure("The fleet's database", this.address.url, error);
  }

  async #with<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    this.#pool ??= this.#openPool();
    const pool = await this.#pool;
    let client: PoolClient | undefined;
    let broken: Error | undefined;
    try {
      client = await pool.connect();
      return await work(client);
    } catch (error) {
      if (leavesBroken(error)) broken = error instanceof Error ? error : new Error("broken");
      throw this.failure(error);
    } finally {
      client?.release(broken ?? false);
    }
  }

  async #openPool(): Promise<Pool> {
    const { Pool } = await loadPg();
    const pool = new Pool({ ...this.#config(), max: connectionsMax, idleTimeoutMillis: idleMs });
    // Of connections that nobody uses at the moment; the next query connects anew.
    pool.on("error", (error) =>
      this.#logger.debug({ error: messageOf(error) }, "a connection was lost"),
    );
    pool.on("connect", (client) => {
      this.#clients.add(client);
      // While somebody has it: its query fails, too. Without a listener this would end the process.
      client.on("error", () => {});
      // What is promised to a worker must not be forgotten with a crash. Queued before anything else.
      // Compiling a claim takes a hundred times as long as the claim.
      client.query("SET synchronous_commit = on; SET jit = off").catch(() => {}); // the query after it fails, too
    });
    pool.on("remove", (client) => this.#clients.delete(client));
    return pool;
  }

  #config(): ClientConfig {
    const { host, port, user, name, tls } = this.address;
    return {
      host,
      port,
      user,
      database: name,
      ssl: tls,
      application_name: this.#application,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: queryTimeoutMs,
      statement_timeout: queryTimeoutMs,
      idle_in_transaction_session_timeout: idleInTransactionMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: keepAliveMs,
      // Without a file pg looks at PGPASSWORD, PGPASSFILE and ~/.pgpass itself. Read at each connection: it may change.
      ...(this.#passwordFile === undefined ? {} : { password: () => this.#readPassword(() => {}) }),
    };
  }

  #readPassword(warn: (warning: string) => void): string {
    const warnings: string[] = [];
    const source = { flag: "fleet-database-password-file", what: "password" };
    const password = readSecretFile(source, this.#passwordFile!, warnings);
    for (const warning of warnings) warn(warning);
    addSecret(password);
    return password;
  }

  /** May be called twice. A server that hangs is not waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    const pool = await this.#pool?.catch(() => undefined);
    this.#pool = undefined;
    if (pool === undefined) return;
    await Promise.race([pool.end(), sleep(closeTimeoutMs, undefined, { ref: false })]);
    for (const client of this.#clients) destroy(client);
  }
}

async function loadPg(): Promise<typeof import("pg")> {
  const pg = await import("pg");
  return pg.default as unknown as typeof import("pg");
}

async function ask(
  client: Client | PoolClient,
  { text, values, name }: { text: string; values: readonly SqlValue[]; name: string | undefined },
  timeoutMs?: number,
): Promise<Row[]> {
  // pg takes a timeout for each query, which its types do not know.
  const config = { text, name, values: values.map(asParameter), query_timeout: timeoutMs };
  const result: QueryResult | QueryResult[] = await client.query(config);
  // Several statements answer with several results: a step of the schema, of which nothing is read.
  return Array.isArray(result) ? [] : result.rows.map((columns) => new Row(columns));
}

/** pg sends a JavaScript object as JSON and a bigint as text; bytes only as a Buffer. */
function asParameter(value: SqlValue): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) return Buffer.from(value);
  return value;
}

async function transact<T>(
  client: PoolClient,
  body: (queries: Queries) => Promise<T>,
  timeoutMs: number,
  mode = "",
): Promise<T> {
  await client.query(`BEGIN ${mode}; SET LOCAL statement_timeout = ${timeoutMs}`);
  try {
    const result = await body({
      query: (text, values = [], name) => ask(client, { text, values, name }, timeoutMs),
    });
    await client.query("COMMIT");
    return result;
  } catch (error) {
    // The error counts; a connection that is given up takes its transaction with it.
    if (!leavesBroken(error)) await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

/** Of a call that was given up nobody knows what its connection does; what the server or we refused left it well. */
function leavesBroken(error: unknown): boolean {
  return stateOf(error) === undefined && !(error instanceof MigratekitError);
}

function againAtConflicts<T>(work: () => Promise<T>): Promise<T> {
  return retry(work, {
    attemptsMax: conflictAttemptsMax,
    firstPauseMs: 20,
    pauseMsMax: 200,
    isPassing: (error) => error instanceof Error && conflicts.includes(stateOf(error.cause) ?? ""),
  });
}

/** Ends a connection whose server may not answer. */
function destroy(client: Client): void {
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } })
    .connection;
  stream.destroy();
}

/** Ends a connection of `connect`, waiting a bounded time. */
export async function endClient(client: Client): Promise<void> {
  const ended = once(client, "end");
  client.end().catch(() => {}); // broken already
  await Promise.race([ended, sleep(closeTimeoutMs, undefined, { ref: false })]);
  destroy(client);
}
