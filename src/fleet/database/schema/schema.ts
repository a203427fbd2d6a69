import { MigratekitError } from "../../../errors.ts";
import type { Queries } from "../database.ts";
import { claim } from "./claim.ts";
import { due } from "./due.ts";
import { lease, workerFunctions } from "./lease.ts";
import { tables } from "./tables.ts";
import { tally } from "./tally.ts";

/**
 * The schema as the list of steps that led to it: step N brings version N to N+1. A released step is never
 * edited, only followed by another, and what it takes away, a worker of the version before must not need: they
 * are upgraded one after another, while the others work.
 */
export const schemaSteps: readonly string[] = [`${tables}${tally}${claim}${lease}`, due];

/** All of it lives in this schema of PostgreSQL, whatever else the database holds. */
export const schemaName = "migratekit";
/** Taken for the length of a transaction by whoever changes the schema or the plan: "mkit" in ASCII. */
export const advisoryKey = 0x6d6b6974;

/** The version of the fleet in there; undefined: there is none. @throws `fleet-database-schema` for foreign tables */
export async function readVersion(queries: Queries): Promise<number | undefined> {
  const [found] = await queries.query(
    `SELECT to_regclass('${schemaName}.fleet') IS NOT NULL AS fleet,
      EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace('${schemaName}')) AS any`,
  );
  if (!found!.flag("fleet")) {
    if (!found!.flag("any")) return undefined;
    throw new MigratekitError(
      "fleet-database-schema",
      `The database has a schema ${schemaName} that is not of a fleet`,
      { remedy: "Give --fleet-database another database." },
    );
  }
  const [row] = await queries.query(`SELECT version FROM ${schemaName}.fleet`);
  return row?.number("version");
}

/** @throws `fleet-database-schema` unless it is just the version that this program knows */
export function checkVersion(version: number | undefined): void {
  const known = schemaSteps.length;
  if (version === known) return;
  if (version === undefined) {
    throw new MigratekitError("fleet-database-schema", "The database holds no fleet", {
      remedy: "Run 'migratekit fleet init' once.",
    });
  }
  if (version < known) {
    throw new MigratekitError(
      "fleet-database-schema",
      `The fleet's schema has version ${version}; this migratekit knows ${known}`,
      { remedy: "Run 'migratekit fleet init' to upgrade it; workers go on meanwhile." },
    );
  }
  refuseNewer(version, known);
}

/**
 * Brings the schema to the newest version, one process after the other, each in one transaction of the
 * caller's. @throws `fleet-database-schema` for a newer one
 */
export async function upgradeSchema(
  queries: Queries,
  steps: readonly string[] = schemaSteps,
): Promise<{ version: number; upgradedFrom?: number }> {
  await queries.query("SELECT pg_advisory_xact_lock($1)", [advisoryKey]);
  const found = await readVersion(queries);
  if (found !== undefined && found > steps.length) refuseNewer(found, steps.length);
  if (found === undefined) await queries.query(`CREATE SCHEMA ${schemaName}`);
  await queries.query(`SET LOCAL search_path = ${schemaName}, pg_temp`);
  for (const step of steps.slice(found ?? 0)) await queries.query(step);
  if (found === undefined) {
    await queries.query(`INSERT INTO fleet (version) VALUES ($1)`, [steps.length]);
    await queries.query(`INSERT INTO pulse VALUES (true, '-infinity', '-infinity')`);
  } else {
    await queries.query(`UPDATE fleet SET version = $1`, [steps.length]);
  }
  await queries.query(`REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ${schemaName} FROM PUBLIC`);
  return {
    version: steps.length,
    ...(found === undefined || found === steps.length ? {} : { upgradedFrom: found }),
  };
}

/** Lets these roles work, and no more: claims and what a lease allows, and to look. */
export async function grantToWorkers(queries: Queries): Promise<void> {
  for (const row of await queries.query(
    `SELECT quote_ident(name) AS role FROM ${schemaName}.worker_role`,
  )) {
    const role = row.text("role");
    await queries.query(`GRANT USAGE ON SCHEMA ${schemaName} TO ${role}`);
    await queries.query(`GRANT SELECT ON ALL TABLES IN SCHEMA ${schemaName} TO ${role}`);
    const functions = await queries.query(
      `SELECT oid::regprocedure::text AS signature FROM pg_proc
        WHERE pronamespace = to_regnamespace('${schemaName}') AND proname = ANY ($1)`,
      [workerFunctions],
    );
    for (const each of functions) {
      await queries.query(`GRANT EXECUTE ON FUNCTION ${each.text("signature")} TO ${role}`);
    }
  }
}

function refuseNewer(version: number, known: number): never {
  throw new MigratekitError(
    "fleet-database-schema",
    `The fleet's schema has version ${version}; this migratekit knows ${known}`,
    { remedy: "Use the newer migratekit that upgraded it." },
  );
}
