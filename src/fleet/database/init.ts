import { MigratekitError } from "../../errors.ts";
import type { Queries } from "./database.ts";
import { grantToWorkers, upgradeSchema } from "./schema/schema.ts";

/** What `fleet init` sets; what is left out stays as it is. */
export interface InitSettings {
  /** A lease lives so long without being renewed, ms. */
  readonly ttlMs?: number;
  /** At least so long after a lease's end nobody takes over, ms; the plan's drop time may make it longer. */
  readonly graceMs?: number;
  /** An existing role of PostgreSQL that may work from now on, and nothing else. */
  readonly workerRole?: string;
  /** The database was restored: tokens go up by a wide step, and no VM's state is believed to be the newest. */
  readonly restored?: boolean;
}

export interface InitResult {
  readonly version: number;
  /** Of an older one. */
  readonly upgradedFrom?: number;
  /** What an operator should know about the server. */
  readonly warnings: readonly string[];
}

const oldestServer = 130_000;
/** More claims than there were between any backup and its restoration. */
const restoredTokenStep = 1_000_000_000;

/** Within the caller's transaction. */
export async function initFleet(
  queries: Queries,
  settings: InitSettings,
  steps?: readonly string[],
): Promise<InitResult> {
  await checkServer(queries);
  const upgraded = await upgradeSchema(queries, steps);
  const { ttlMs, graceMs, workerRole, restored } = settings;
  await queries.query(
    "UPDATE fleet SET ttl_ms = coalesce($1, ttl_ms), grace_ms = coalesce($2, grace_ms)",
    [ttlMs ?? null, graceMs ?? null],
  );
  if (workerRole !== undefined) await addWorkerRole(queries, workerRole);
  await grantToWorkers(queries);
  if (restored) await afterRestore(queries);
  return { ...upgraded, warnings: await warningsOf(queries) };
}

/** @throws MigratekitError `usage` for one that is not there */
async function addWorkerRole(queries: Queries, name: string): Promise<void> {
  const [role] = await queries.query(
    `SELECT quote_ident($1) AS quoted, EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1) AS known,
      $1 = current_user AS own`,
    [name],
  );
  if (role!.flag("own")) {
    throw new MigratekitError("usage", `--worker-role ${name} is the user that owns the fleet`, {
      remedy:
        "Workers may do all with it already; to have them do less, give them a role of their own.",
    });
  }
  if (!role!.flag("known")) {
    throw new MigratekitError("usage", `--worker-role ${name}: PostgreSQL has no such role`, {
      remedy: `Make it as the superuser: CREATE ROLE ${role!.text("quoted")} LOGIN PASSWORD '…';`,
    });
  }
  await queries.query("INSERT INTO worker_role VALUES ($1) ON CONFLICT DO NOTHING", [name]);
}

/**
 * What the backup did not know of may still run: nothing is claimed before such a run has noticed that its
 * lease is not known any more, and before what it sent has arrived or been dropped.
 */
async function afterRestore(queries: Queries): Promise<void> {
  await queries.query("SELECT setval('token', nextval('token') + $1)", [restoredTokenStep]);
  await queries.query(
    "UPDATE fleet SET claims_from = clock_timestamp() + ttl_ms * interval '1 ms' + grace()",
  );
  await queries.query(
    "UPDATE run SET status = 'lost', ended_at = clock_timestamp() WHERE ended_at IS NULL",
  );
  await queries.query("DELETE FROM lease");
  await queries.query("UPDATE vm SET leased = false, unclean = true");
  await queries.query("UPDATE place SET used = 0, ceiling = capacity");
}

/** @throws MigratekitError `fleet-database-schema` for a server that lacks what the tables need */
async function checkServer(queries: Queries): Promise<void> {
  const [server] = await queries.query(
    "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number",
  );
  if (server!.number("number") >= oldestServer) return;
  throw new MigratekitError(
    "fleet-database-schema",
    `The server is PostgreSQL ${server!.text("version")}; 13 is the oldest that will do`,
    { remedy: "Upgrade it, or give --fleet-database a newer one." },
  );
}

async function warningsOf(queries: Queries): Promise<string[]> {
  const [server] = await queries.query(
    "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages",
  );
  if (server!.text("fsync") === "on" && server!.text("pages") === "on") return [];
  return [
    "the server forgets with a power cut what it was told: set fsync and full_page_writes to on, or two workers may write to one target after it",
  ];
}
