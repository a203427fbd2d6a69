import type { FleetAction, PlannedVm } from "../fleet.ts";
import type {
  FleetPlaceStatus,
  FleetStatus,
  FleetVmError,
  FleetVmState,
  FleetVmStatus,
  FleetVmSync,
  FleetWaveStatus,
  FleetWorkerStatus,
  RunProgress,
  StatusScope,
} from "../status.ts";
import type { Queries } from "./database.ts";
import type { Row } from "./row.ts";
import { type Reasons, whyOf } from "./why.ts";

const syncsMost = 50;

/** All of it within the caller's transaction, so that it is of one moment. */
export async function readStatus(queries: Queries, scope: StatusScope): Promise<FleetStatus> {
  const [fleet] = await queries.query(fleetSql, [], "fleet-status");
  const now = fleet!.time("now");
  const workers = fleet!.rows("workers").map(workerOf);
  const places = fleet!.rows("places");
  const waves = fleet!.rows("waves").map(waveOf);
  const reasons: Reasons = {
    now,
    workers: workers.filter(({ alive }) => alive),
    places: new Map(places.map((row) => [row.number("id"), placeOf(row)])),
    waitMs: fleet!.number("wait_ms"),
    claimsFrom: fleet!.optionalTime("claims_began"),
    dropIsKnown: fleet!.optionalNumber("target_drop_ms") !== undefined,
  };
  const vms = await readVms(queries, scope, now);
  const dropMs = fleet!.optionalNumber("target_drop_ms");
  const ofKind = (kind: string) => places.filter((row) => row.text("kind") === kind).map(placeOf);
  return {
    at: now.toISOString(),
    limits: {
      hostConnections: fleet!.number("host_connections"),
      datastoreRuns: fleet!.number("datastore_runs"),
      targetRuns: fleet!.number("target_runs"),
    },
    ...(dropMs === undefined ? {} : { targetDropMs: dropMs }),
    workers,
    hosts: ofKind("host"),
    datastores: ofKind("datastore"),
    targetServers: ofKind("target"),
    vms: vms.map((row) => vmOf(row, reasons)),
    waves,
  };
}

/** The waves that have VMs, of sums that are kept: of the VMs' own rows an index leads to the first, or to those at work. */
const wavesSql = `
  WITH counts AS (
    SELECT wave, sum(vms) AS vm_count, sum(in_sync) AS in_sync, sum(delta_bytes) AS delta_bytes,
      sum(vms) FILTER (WHERE standing = 'cut-over') AS cut_over,
      sum(vms) FILTER (WHERE standing = 'running') AS running,
      sum(vms) FILTER (WHERE standing = 'failed') AS failed,
      sum(vms) FILTER (WHERE standing = 'paused') AS paused_vms,
      coalesce(sum(vms) FILTER (WHERE standing = 'waiting'), 0) AS waiting,
      coalesce(sum(vms) FILTER (WHERE standing = 'blocked'), 0) AS blocked
    FROM migratekit.tally GROUP BY wave HAVING sum(vms) > 0
  ), now_due AS (
    SELECT wave, sum(vms) AS vms, coalesce(sum(vms) FILTER (WHERE standing = 'waiting'), 0) AS waiting,
      coalesce(sum(vms) FILTER (WHERE standing = 'blocked'), 0) AS blocked
    FROM migratekit.due WHERE due_at <= clock.now GROUP BY wave
  ), held AS (
    SELECT wave, count(*) FILTER (WHERE expires_at < clock.now) AS takeover,
      sum((progress ->> 'bytesPerSecond')::numeric) FILTER (WHERE expires_at >= clock.now) AS bytes_per_second
    FROM migratekit.lease JOIN migratekit.vm ON vm.id = vm_id
    WHERE notable AND standing = 'running' GROUP BY wave
  )
  SELECT name, paused, vm_count, in_sync, delta_bytes, cut_over, running, failed, paused_vms,
    now_due.vms AS due, counts.waiting - coalesce(now_due.waiting, 0) AS waiting,
    counts.blocked - coalesce(now_due.blocked, 0) AS blocked, takeover, bytes_per_second,
    (SELECT min(next_at) FROM migratekit.vm WHERE vm.wave = wave.name AND next_at IS NOT NULL) AS next_at,
    (SELECT min(synced_at) FROM migratekit.vm WHERE vm.wave = wave.name
      AND synced_at IS NOT NULL AND released_at IS NULL AND cut_over_at IS NULL) AS oldest_sync_at
  FROM migratekit.wave JOIN counts ON counts.wave = name LEFT JOIN held ON held.wave = name
  LEFT JOIN now_due ON now_due.wave = name`;

/**
 * Everything but the VMs, in one row: each way to a database that works costs as much as the work, and so does
 * planning, for which the server looks at VMs' rows: each connection has it planned once.
 */
const fleetSql = `
  SELECT clock.now, host_connections, datastore_runs, target_runs, target_drop_ms, greatest(grace_ms, coalesce(target_drop_ms, 0)) AS wait_ms,
    nullif(claims_from, '-infinity') AS claims_began,
    (SELECT jsonb_agg(to_jsonb(each) ORDER BY name) FROM (
      SELECT name, labels, version, parallel, seen_at, seen_at > clock.now - ttl_ms * interval '1 ms' AS alive,
        (SELECT count(*)::integer FROM migratekit.lease WHERE lease.worker = worker.name) AS runs
      FROM migratekit.worker WHERE seen_at > clock.now - interval '1 day') each) AS workers,
    (SELECT jsonb_agg(to_jsonb(each) ORDER BY name) FROM (
      SELECT id, kind, name, used, capacity FROM migratekit.place) each) AS places,
    (SELECT jsonb_agg(to_jsonb(each) ORDER BY name) FROM (${wavesSql}) each) AS waves
  FROM migratekit.fleet, (
    -- No finer than what it is compared with later.
    SELECT date_trunc('milliseconds', clock_timestamp()) AS now OFFSET 0) clock`;

const rankSql = `CASE WHEN standing = 'failed' THEN 1 WHEN lease.expires_at < $1 THEN 2
  WHEN failures + cutover_failures > 0 THEN 3 WHEN standing = 'running' THEN 4 ELSE 5 END`;
const inScopeSql = `
  ($2::text[] IS NULL OR name = ANY ($2)) AND ($3::text[] IS NULL OR wave = ANY ($3))`;

/** Trouble first. What is told of each VM is read for those alone that are shown. */
const vmsSql = `
  WITH shown AS MATERIALIZED (
    (SELECT id, name, ${rankSql} AS rank FROM migratekit.vm LEFT JOIN migratekit.lease ON vm_id = id
      WHERE notable AND ${inScopeSql} ORDER BY rank, name LIMIT $4)
    UNION ALL
    (SELECT id, name, 6 FROM migratekit.vm
      WHERE $7 AND released_at IS NULL AND NOT notable AND ${inScopeSql} ORDER BY name LIMIT $4)
    ORDER BY rank, name LIMIT $4
  )
  SELECT vm.name, vm.entry, vm.failures + vm.cutover_failures AS failures, vm.last_error, vm.cutover_asked_at,
    vm.cutover_ready, vm.cutover_at, vm.cutover_until, vm.sync_at, vm.sync_until, vm.next_at, vm.synced_at,
    vm.delta_bytes, vm.cut_over_at, vm.units, vm.place_ids, vm.wave_paused,
    CASE WHEN standing = 'running' AND lease.expires_at < $1 THEN 'takeover'
      WHEN standing IN ('waiting', 'blocked') AND next_at <= $1 THEN 'due' ELSE standing END AS state,
    (SELECT host_id FROM migratekit.line WHERE line.id = vm.line_id),
    vm.word_for_token = lease.token AS word_given, lease.worker, lease.action, lease.taken_at,
    lease.expires_at, lease.progress, past.runs
  FROM shown JOIN migratekit.vm ON vm.id = shown.id
  LEFT JOIN migratekit.lease ON lease.vm_id = vm.id
  LEFT JOIN LATERAL (
    SELECT jsonb_agg(to_jsonb(each) ORDER BY each.token) AS runs FROM (
      SELECT token, worker, action, status, started_at AS at, error_code, bytes,
        (extract(epoch FROM ended_at - started_at) * 1000)::bigint AS duration_ms,
        CASE WHEN $6 THEN ending END AS ending
      FROM migratekit.run WHERE run.vm_id = shown.id AND ended_at IS NOT NULL ORDER BY token DESC LIMIT $5) each
  ) past ON $5 > 0
  ORDER BY shown.rank, vm.name`;

async function readVms(queries: Queries, scope: StatusScope, now: Date): Promise<Row[]> {
  const { vms, waves, vmsMax, syncsMax = syncsMost, endings = true, healthy = true } = scope;
  if (vmsMax === 0) return [];
  return queries.query(vmsSql, [
    ...[now, vms ?? null, waves ?? null, vmsMax ?? null],
    ...[Math.min(syncsMax, syncsMost), endings, healthy],
  ]);
}

function workerOf(row: Row): FleetWorkerStatus {
  return {
    name: row.text("name"),
    labels: row.texts("labels"),
    version: row.text("version"),
    parallel: row.number("parallel"),
    seenAt: row.time("seen_at").toISOString(),
    alive: row.flag("alive"),
    runs: row.number("runs"),
  };
}

function placeOf(row: Row): FleetPlaceStatus {
  return { id: row.text("name"), used: row.number("used"), capacity: row.number("capacity") };
}

function waveOf(row: Row): FleetWaveStatus {
  const count = (column: string) => row.optionalNumber(column) ?? 0;
  const [cutOver, running, failed] = [count("cut_over"), count("running"), count("failed")];
  const takeover = count("takeover");
  return {
    name: row.text("name"),
    paused: row.flag("paused"),
    vmCount: count("vm_count"),
    inSync: count("in_sync"),
    ...{ cutOver, failed, running },
    states: {
      ...{ waiting: count("waiting"), due: count("due"), running: running - takeover },
      ...{ paused: count("paused_vms"), failed, takeover, blocked: count("blocked") },
      "cut-over": cutOver,
    },
    deltaBytes: count("delta_bytes"),
    bytesPerSecond: count("bytes_per_second"),
    ...given({
      nextRunAt: row.optionalTime("next_at")?.toISOString(),
      oldestSyncAt: row.optionalTime("oldest_sync_at")?.toISOString(),
    }),
  };
}

interface PastRun {
  readonly worker: string;
  readonly action: FleetAction;
  readonly status: FleetVmSync["status"];
  readonly at: string;
  readonly error_code: string | null;
  readonly bytes: number | null;
  readonly duration_ms: number;
  readonly ending: unknown;
}

function vmOf(row: Row, reasons: Reasons): FleetVmStatus {
  const entry = row.json<PlannedVm>("entry");
  const state = row.text("state") as FleetVmState;
  const hostId = row.optionalNumber("host_id");
  const turn = turnOf(row);
  return {
    name: entry.name,
    endpoint: entry.endpoint,
    vmPath: entry.vmPath,
    wave: entry.wave,
    priority: entry.priority,
    labels: entry.labels,
    after: entry.after,
    state,
    action: (row.optionalText("action") as FleetAction | undefined) ?? turn.action,
    failures: row.number("failures"),
    syncs: (row.optionalJson<PastRun[]>("runs") ?? []).map(syncOf),
    ...given({
      why: whyOf(row, state, entry, reasons),
      cutoverAskedAt: row.optionalTime("cutover_asked_at")?.toISOString(),
      nextRunAt: turn.at?.toISOString(),
      windowClosesAt: turn.until?.toISOString(),
      worker: row.optionalText("worker"),
      startedAt: row.optionalTime("taken_at")?.toISOString(),
      progress: row.optionalJson<RunProgress>("progress"),
      host: hostId === undefined ? undefined : reasons.places.get(hostId)?.id,
      lastError: errorOf(row),
      lastSyncAt: row.optionalTime("synced_at")?.toISOString(),
      cutOverAt: row.optionalTime("cut_over_at")?.toISOString(),
      deltaBytes: row.optionalNumber("delta_bytes"),
    }),
  };
}

/** What comes next, where nothing runs. */
function turnOf(row: Row): { action: FleetAction; at?: Date; until?: Date } {
  const at = row.optionalTime("next_at");
  const cutoverAt = row.optionalTime("cutover_at");
  const isCutover =
    row.flag("cutover_ready") && cutoverAt !== undefined && cutoverAt <= (at ?? cutoverAt);
  const until = row.optionalTime(isCutover ? "cutover_until" : "sync_until");
  return {
    action: isCutover ? "cutover" : "migrate",
    ...(at ? { at, ...(until ? { until } : {}) } : {}),
  };
}

/** As `finish` and `reap_one` store it; what is absent there may be null. */
function errorOf(row: Row): FleetVmError | undefined {
  const error = row.optionalJson<FleetVmError>("last_error");
  if (error === undefined) return undefined;
  return { ...error, at: new Date(error.at).toISOString() };
}

function syncOf(run: PastRun): FleetVmSync {
  const { at, action, status, worker, duration_ms, error_code, bytes, ending } = run;
  return {
    at: new Date(at).toISOString(),
    action,
    status,
    worker,
    durationMs: duration_ms,
    ...given({
      bytes: bytes ?? undefined,
      errorCode: error_code ?? undefined,
      ending: ending ?? undefined,
    }),
  };
}

/** Without what is undefined. */
function given<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: NonNullable<T[K]> };
}
