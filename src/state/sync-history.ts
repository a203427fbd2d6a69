/** What past syncs measured of each VM: how fast it was copied, how much changes. */
import type { StateDatabase } from "./database/database.ts";
import type { Row } from "./database/row.ts";
import { toIdentity, type VmIdentity } from "./vm-identity.ts";

/** A sync that was completed; bytes and spans of all disks together. */
export interface MeasuredSync {
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** `mixed`: some disks were copied whole, or a journal was gone on with. */
  readonly kind: "full" | "incremental" | "mixed";
  readonly plannedBytes: number;
  readonly diskCount: number;
}

export interface VmHistory extends VmIdentity {
  /** Oldest first: of each kind the newest few. */
  readonly syncs: readonly MeasuredSync[];
}

const newestOfKind = 10;

const selectSyncs = `
  WITH sync AS (
    SELECT run.vm_id, run.sequence, run.started_at, run.duration_ms, sum(planned_bytes) AS planned,
      count(*) AS disks, max(sync_type = 'full') AS any_full,
      CASE WHEN max(resumed) = 1 OR min(sync_type) <> max(sync_type) THEN 'mixed'
        ELSE min(sync_type) END AS kind
    FROM run JOIN run_disk ON run_disk.run_sequence = run.sequence
    WHERE run.status = 'completed' AND run.duration_ms IS NOT NULL
      AND run.command IN ('migrate', 'cutover')
    GROUP BY run.sequence)
  SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY vm_id, any_full ORDER BY sequence DESC) AS age
    FROM sync)
  WHERE age <= ${newestOfKind} ORDER BY vm_id, sequence`;

/** Of every VM that the state knows, in the order in which they were first seen. */
export function readSyncHistory(db: StateDatabase): VmHistory[] {
  return db.view("Reading what past syncs measured", () => {
    const syncs = Map.groupBy(db.all(selectSyncs), (row) => row.number("vm_id"));
    return db.all("SELECT * FROM vm ORDER BY id").map((row) => ({
      ...toIdentity(row),
      syncs: (syncs.get(row.number("id")) ?? []).map(measuredSync),
    }));
  });
}

function measuredSync(row: Row): MeasuredSync {
  return {
    startedAtMs: Date.parse(row.text("started_at")),
    durationMs: row.number("duration_ms"),
    kind: row.oneOf("kind", ["full", "incremental", "mixed"]),
    plannedBytes: row.number("planned"),
    diskCount: row.number("disks"),
  };
}
