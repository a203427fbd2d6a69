import type { MeasuredSync } from "../../state/sync-history.ts";
import type { RecordedVm } from "../fleet.ts";
import type { Queries } from "./database.ts";

/** Of each VM the newest ones, and the one that brought most: its full copy, as long as that is kept. */
const newestRuns = 10;

/** What is told in their endings is read of no more runs than that: of thousands of VMs it is long. */
const recordedSql = `
  WITH ended AS (
    SELECT vm_id, token, row_number() OVER (PARTITION BY vm_id ORDER BY token DESC) AS age,
      row_number() OVER (PARTITION BY vm_id ORDER BY bytes DESC NULLS LAST, token DESC) AS place
    FROM migratekit.run WHERE status = 'completed'
  ), told AS (
    SELECT run.vm_id, jsonb_agg(jsonb_build_object(
        'startedAtMs', floor(extract(epoch FROM started_at) * 1000),
        'durationMs', round(extract(epoch FROM ended_at - started_at) * 1000),
        'plannedBytes', bytes, 'diskCount', disks.count, 'kind', disks.kind) ORDER BY token)
        FILTER (WHERE action = 'migrate' AND bytes IS NOT NULL AND disks.kind IS NOT NULL) AS syncs,
      max((coalesce(ending #>> '{instance,downtime_ms}', ending ->> 'downtime_ms'))::numeric)
        FILTER (WHERE action = 'cutover') AS downtime_ms
    FROM ended JOIN migratekit.run USING (token) CROSS JOIN LATERAL (
      SELECT count(*) AS count, CASE WHEN bool_or(disk @> '{"resumed": true}')
          OR min(disk ->> 'sync_type') <> max(disk ->> 'sync_type') THEN 'mixed'
        ELSE min(disk ->> 'sync_type') END AS kind
      FROM jsonb_array_elements(CASE jsonb_typeof(ending -> 'disks') WHEN 'array' THEN ending -> 'disks' END) disk
    ) disks
    WHERE age <= ${newestRuns} OR place = 1 GROUP BY run.vm_id
  )
  SELECT entry ->> 'endpoint' AS endpoint, vm_path, cut_over_at IS NOT NULL AS cut_over, syncs,
    round(downtime_ms) AS downtime_ms,
    (SELECT place.name FROM migratekit.line JOIN migratekit.place ON place.id = host_id WHERE line.id = line_id) AS host,
    ARRAY(SELECT name FROM migratekit.place WHERE id = ANY (place_ids) AND kind = 'datastore' ORDER BY name) AS datastores
  FROM migratekit.vm LEFT JOIN told ON told.vm_id = vm.id WHERE released_at IS NULL ORDER BY vm.id`;

/** Of every VM of the fleet's plan. */
export async function readRecorded(queries: Queries): Promise<RecordedVm[]> {
  const rows = await queries.query(recordedSql);
  return rows.map((row) => {
    const host = row.optionalText("host");
    const downtimeMs = row.optionalNumber("downtime_ms");
    return {
      endpoint: row.text("endpoint"),
      vmPath: row.text("vm_path"),
      ...(host !== undefined && { host }),
      datastores: row.texts("datastores"),
      syncs: row.optionalJson<MeasuredSync[]>("syncs") ?? [],
      isCutOver: row.flag("cut_over"),
      ...(downtimeMs !== undefined && { downtimeMs }),
    };
  });
}
