import { createHash } from "node:crypto";
import type { FleetPlan, PlannedVm } from "../fleet.ts";
import type { Queries } from "./database.ts";
import type { Row } from "./row.ts";
import { advisoryKey } from "./schema/schema.ts";
import { cutoverFrom, firstSync, nextSync, type Turn } from "./turns.ts";

/** VMs in one statement: some MiB of text. */
const batchSize = 1000;

/** Names of VMs. */
export interface AppliedPlan {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: number;
  /** They were in the plan and are not any more; of these, syncs that run are asked to stop. */
  readonly released: readonly string[];
  readonly stopping: readonly string[];
}

/** What is in the database of an entry, changed or new. */
interface Change {
  readonly vm: PlannedVm;
  readonly digest: string;
  readonly known: Row | undefined;
}

/** Makes the fleet's plan this one, within the caller's transaction. */
export async function applyPlan(queries: Queries, plan: FleetPlan): Promise<AppliedPlan> {
  await queries.query("SELECT pg_advisory_xact_lock($1)", [advisoryKey]);
  await queries.query("SET LOCAL search_path = migratekit, pg_temp");
  const [clock] = await queries.query("SELECT clock_timestamp() AS now");
  const known = await readKnown(queries);
  const { changes, unchanged, released } = compare(plan, known);
  await orderWaves(queries, [...new Set(plan.vms.map(({ wave }) => wave))]);
  const stopping = await release(queries, released);
  await freeNames(queries, changes);
  for (let begin = 0; begin < changes.length; begin += batchSize) {
    const batch = changes.slice(begin, begin + batchSize);
    const rows = batch.map((change) => rowOf(change, clock!.time("now")));
    await queries.query(storeSql, [JSON.stringify(rows)]);
  }
  if (changes.length > 0) await settleCutovers(queries);
  await setLimits(queries, plan);
  await queries.query("SELECT pg_notify('migratekit_fleet', '')");
  const isNew = ({ known }: Change) => known?.optionalTime("released_at") !== undefined || !known;
  return {
    added: changes.filter(isNew).map(({ vm }) => vm.name),
    changed: changes.filter((change) => !isNew(change)).map(({ vm }) => vm.name),
    unchanged,
    released: released.map((row) => row.text("name")),
    stopping,
  };
}

/** In the order in which the plan names them. */
async function orderWaves(queries: Queries, names: readonly string[]): Promise<void> {
  await queries.query(
    `INSERT INTO wave (name, position) SELECT name, position FROM unnest($1::text[]) WITH ORDINALITY AS given (name, position)
      ORDER BY name ON CONFLICT (name) DO UPDATE SET position = excluded.position
      WHERE wave.position <> excluded.position`,
    [names],
  );
  await queries.query(
    `UPDATE vm SET wave_position = wave.position FROM wave
      WHERE wave.name = vm.wave AND vm.wave_position <> wave.position`,
  );
}

/** By endpoint and path, which are what a VM is known by. */
async function readKnown(queries: Queries): Promise<Map<string, Row>> {
  const rows = await queries.query(
    `SELECT id, name, endpoint, vm_path, entry_digest, released_at, failed, started_at, synced_at,
      cutover_asked_at, failures, sync_at, sync_until, cutover_at, cutover_until, leased FROM vm`,
  );
  return new Map(rows.map((row) => [keyOf(row.text("endpoint"), row.text("vm_path")), row]));
}

function keyOf(endpoint: string, vmPath: string): string {
  return `${endpoint} ${vmPath}`;
}

function compare({ vms }: FleetPlan, known: ReadonlyMap<string, Row>) {
  const changes: Change[] = [];
  const kept = new Set<string>();
  let unchanged = 0;
  for (const vm of vms) {
    const key = keyOf(vm.endpoint, vm.vmPath);
    kept.add(key);
    const [row, digest] = [known.get(key), digestOf(vm)];
    const same =
      row?.text("entry_digest") === digest && row.optionalTime("released_at") === undefined;
    if (same) unchanged++;
    else changes.push({ vm, digest, known: row });
  }
  const released = [...known]
    .filter(([key, row]) => !kept.has(key) && row.optionalTime("released_at") === undefined)
    .map(([, row]) => row);
  return { changes, unchanged, released };
}

/** The order in which a file names settings is no change. */
function digestOf(vm: PlannedVm): string {
  const sorted = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return createHash("sha256").update(JSON.stringify(vm, sorted)).digest("hex");
}

/** Its state and history stay, should it come back. A cutover that runs goes on to its end. */
async function release(queries: Queries, released: readonly Row[]): Promise<string[]> {
  const ids = released.map((row) => row.number("id"));
  await queries.query("UPDATE vm SET released_at = clock_timestamp() WHERE id = ANY ($1)", [ids]);
  const stopping = await queries.query(
    `UPDATE lease SET stop = true FROM vm
      WHERE vm.id = vm_id AND vm_id = ANY ($1) AND action = 'migrate' RETURNING vm.name`,
    [ids],
  );
  return stopping.map((row) => row.text("name"));
}

/** So that two VMs can change names. */
async function freeNames(queries: Queries, changes: readonly Change[]): Promise<void> {
  const renamed = changes.filter(({ vm, known }) => known && known.text("name") !== vm.name);
  await queries.query("UPDATE vm SET name = vm.id || ' ' || name WHERE id = ANY ($1)", [
    renamed.map(({ known }) => known!.number("id")),
  ]);
}

/** What is written of an entry; of one that was there, what changed may be what mends it: it is tried again. */
function rowOf({ vm, digest, known }: Change, now: Date) {
  const sync = syncTurn(vm, known, now);
  const asked = known?.optionalTime("cutover_asked_at") !== undefined;
  const cutover = asked ? cutoverFrom(vm, now) : undefined;
  return {
    name: vm.name,
    endpoint: vm.endpoint,
    vm_path: vm.vmPath,
    wave: vm.wave,
    priority: vm.priority,
    labels: [...vm.labels].sort(),
    after_names: vm.after,
    entry: vm,
    entry_digest: digest,
    sync_at: sync?.at ?? null,
    sync_until: sync?.until ?? null,
    cutover_at: cutover?.at ?? null,
    cutover_until: cutover?.until ?? null,
    waits_since: sync?.at ?? now,
  };
}

function syncTurn(vm: PlannedVm, known: Row | undefined, now: Date): Turn | undefined {
  const startedAt = known?.optionalTime("started_at");
  const synced = known?.optionalTime("synced_at") !== undefined;
  if (startedAt === undefined || !synced || known?.number("failures") !== 0) {
    return firstSync(vm, now);
  }
  return nextSync(vm, startedAt, now);
}

const columns = `name, endpoint, vm_path, wave, priority, labels, after_names, entry, entry_digest,
  sync_at, sync_until, cutover_at, cutover_until, waits_since`;

/** A VM that runs keeps its lease; what it was counted by and its line's host stay, its labels may change. */
const storeSql = `
  WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS given (name text, endpoint text, vm_path text, wave text,
      priority integer, labels text[], after_names text[], entry jsonb, entry_digest text, sync_at timestamptz,
      sync_until timestamptz, cutover_at timestamptz, cutover_until timestamptz, waits_since timestamptz)
  ), lines AS MATERIALIZED (
    SELECT labels, line_for(NULL, labels) AS line_id FROM (SELECT DISTINCT labels FROM given) sets
  )
  INSERT INTO vm (${columns}, line_id, wave_paused, wave_position)
    SELECT ${columns.replaceAll(/\w+/g, "given.$&")}, lines.line_id, wave.paused, wave.position
    FROM given JOIN lines USING (labels) JOIN wave ON wave.name = given.wave
    ORDER BY given.endpoint, given.vm_path
  ON CONFLICT (endpoint, vm_path) DO UPDATE SET
    name = excluded.name, wave = excluded.wave, wave_paused = excluded.wave_paused,
    wave_position = excluded.wave_position, priority = excluded.priority,
    labels = excluded.labels, after_names = excluded.after_names, entry = excluded.entry,
    entry_digest = excluded.entry_digest, entry_version = vm.entry_version + 1,
    line_id = line_for((SELECT host_id FROM line WHERE line.id = vm.line_id), excluded.labels),
    sync_at = excluded.sync_at, sync_until = excluded.sync_until,
    cutover_at = excluded.cutover_at, cutover_until = excluded.cutover_until,
    waits_since = excluded.waits_since,
    released_at = NULL, failed = false, failures = 0, cutover_failures = 0`;

/** Whom a cutover waits for may have changed. */
async function settleCutovers(queries: Queries): Promise<void> {
  await queries.query(
    `UPDATE vm SET cutover_ready = NOT cutover_ready
      WHERE cutover_asked_at IS NOT NULL AND released_at IS NULL AND cut_over_at IS NULL
        AND cutover_ready <> may_cut_over(after_names)`,
  );
  // What was planned on an empty table is planned for an empty table.
  await queries.query("ANALYZE vm, line");
}

/** Runs that are beyond a limit that was lowered go on; none begins before there is room. */
async function setLimits(queries: Queries, { limits, targetDropMs }: FleetPlan): Promise<void> {
  const { hostConnections, datastoreRuns, targetRuns } = limits;
  await queries.query(
    "UPDATE fleet SET host_connections = $1, datastore_runs = $2, target_runs = $3, target_drop_ms = $4",
    [hostConnections, datastoreRuns, targetRuns, targetDropMs ?? null],
  );
  const capacities = { host: hostConnections, datastore: datastoreRuns, target: targetRuns };
  for (const [kind, capacity] of Object.entries(capacities)) {
    await queries.query(
      `UPDATE place SET capacity = $2, ceiling = greatest($2, used)
        WHERE id IN (SELECT id FROM place WHERE kind = $1 AND capacity <> $2 ORDER BY id FOR UPDATE)`,
      [kind, capacity],
    );
  }
}
