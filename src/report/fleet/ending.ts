/** What a run of the fleet's tells of itself, read from the ending that its worker left. Pure. */
import type { FleetVmSync } from "../../fleet/status.ts";

/** Of one run; absent is what its ending does not say: it ended early, or an older version wrote it. */
export interface SyncFacts {
  readonly runId?: string;
  readonly type?: "full" | "incremental";
  /** It brought a delta alone: neither a full copy nor the rest of another's work. */
  readonly isDelta: boolean;
  /** Allocated or changed. */
  readonly plannedBytes?: number;
  readonly readBytes?: number;
  readonly writtenBytes?: number;
  readonly zeroedBytes?: number;
  /** Read from the source a second while it was copied. */
  readonly rateBps?: number;
  readonly disks: readonly DiskFacts[];
  /** Of a cutover. */
  readonly downtimeMs?: number;
  /** Of a cutover: the downtime less its last sync, which is shutdown, conversion and start. */
  readonly besidesSyncMs?: number;
  /** Name of the machine that a cutover has put in the VM's place. */
  readonly instance?: string;
}

export interface DiskFacts {
  readonly id: string;
  readonly target?: string;
  readonly capacityBytes?: number;
  readonly verification?: {
    readonly result: string;
    readonly comparedBytes?: number;
    /** `sha256:…` of the target's first `capacityBytes`. */
    readonly digest?: string;
  };
}

/** A cutover's figures are those of all its syncs; its disks are those of the last one. */
export function factsOf({ ending, action, bytes }: FleetVmSync): SyncFacts {
  const all = fieldsOf(ending);
  const last = fieldsOf(all.final_sync ?? all);
  const syncs = [...listOf(all.passes), last];
  const disks = listOf(last.disks);
  const downtimeMs = numberOf(fieldsOf(all.instance).downtime_ms) ?? numberOf(all.downtime_ms);
  const lastMs = numberOf(last.duration_ms);
  const sum = (name: string) => sumOf(syncs.map(({ total }) => numberOf(fieldsOf(total)[name])));
  return {
    ...given("runId", textOf(last.run_id)),
    ...given("type", typeOf(last)),
    isDelta:
      action === "migrate" &&
      disks.length > 0 &&
      disks.every((disk) => disk.sync_type === "incremental" && disk.resumed !== true),
    ...given("plannedBytes", sum("planned_bytes")),
    ...given("readBytes", sum("read_bytes")),
    ...given("writtenBytes", sum("written_bytes") ?? bytes),
    ...given("zeroedBytes", sum("zeroed_bytes")),
    ...given("rateBps", numberOf(fieldsOf(last.total).rate_bps)),
    disks: disks.map(diskFacts),
    ...given("downtimeMs", downtimeMs),
    ...given(
      "besidesSyncMs",
      downtimeMs === undefined || lastMs === undefined
        ? undefined
        : Math.max(0, downtimeMs - lastMs),
    ),
    ...given("instance", textOf(fieldsOf(all.instance).name)),
  };
}

function typeOf({ sync_type: type }: Fields): SyncFacts["type"] {
  return type === "full" || type === "incremental" ? type : undefined;
}

function diskFacts(disk: Fields): DiskFacts {
  const found = fieldsOf(disk.verification);
  const result = textOf(found.result);
  return {
    id: textOf(disk.disk_id) ?? "-",
    ...given("target", textOf(disk.target)),
    ...given("capacityBytes", numberOf(disk.capacity_bytes)),
    ...(result !== undefined && {
      verification: {
        result,
        ...given("comparedBytes", numberOf(found.compared_bytes)),
        ...given("digest", textOf(found.digest)),
      },
    }),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function given<K extends string, T>(name: K, value: T | undefined): { [P in K]?: T } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: T };
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(fieldsOf) : [];
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function sumOf(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0);
}
