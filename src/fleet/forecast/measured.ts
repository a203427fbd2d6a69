/** What is known of VMs before a plan runs: measured by past runs, or told by an inventory. */
import { readFileSync } from "node:fs";
import { MigratekitError } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";
import type { InventoryRow } from "../../migration/inventory/row.ts";
import type { State } from "../../state/state.ts";
import type { MeasuredSync } from "../../state/sync-history.ts";
import type { FleetPlan, RecordedVm } from "../fleet.ts";

/** Of one VM; what is absent is not known. Whoever knows more fills in more. */
export interface MeasuredVm {
  /** Unique for each ESXi host: with its vCenter's endpoint. */
  readonly host?: string;
  /** Unique, too. */
  readonly datastores?: readonly string[];
  readonly diskCount?: number;
  /** What a full copy has to bring. */
  readonly fullBytes?: number;
  /** Of a full copy, from the run's begin to its end. */
  readonly bytesPerSecond?: number;
  readonly changedBytesPerHour?: number;
  /** Of a sync, whatever it brings: snapshot, look at the target, closing. */
  readonly syncMs?: number;
  /** Of a cutover, from the guest's shutdown until it was up. */
  readonly downtimeMs?: number;
  /** Of its own cutover, which is done; tells of those of others. */
  readonly cutoverDowntimeMs?: number;
  /** When its last sync began, ms since 1970. */
  readonly syncedAt?: number;
  readonly isCutOver?: boolean;
}

/** By `vmKey`. */
export type MeasuredVms = ReadonlyMap<string, MeasuredVm>;

/** One VM, however its endpoint is spelt. */
export function vmKey(endpoint: string, vmPath: string): string {
  return `${endpoint.toLowerCase().replace(/:443$/, "")} ${vmPath}`;
}

/** The later ones know better. */
export function mergeMeasured(...sources: readonly MeasuredVms[]): MeasuredVms {
  const all = new Map<string, MeasuredVm>();
  for (const source of sources)
    for (const [key, vm] of source) all.set(key, { ...all.get(key), ...vm });
  return all;
}

/** What the runs of a state directory measured. @throws MigratekitError `state-unusable` */
export function measuredByRuns(state: State): MeasuredVms {
  return new Map(
    state.syncHistory().map((vm) => {
      const downtimeMs = downtimeOf(state.rehearsals.read(vm)?.result);
      const measured: MeasuredVm = {
        ...measuredSyncs(vm.syncs),
        ...(downtimeMs !== undefined && { downtimeMs }),
        ...(state.readCutOver(vm) && { isCutOver: true }),
      };
      return [vmKey(vm.endpoint, vm.vmPath), measured];
    }),
  );
}

/** What the runs of a fleet measured. */
export function measuredByFleet(recorded: readonly RecordedVm[]): MeasuredVms {
  return new Map(
    recorded.map(({ endpoint, vmPath, syncs, isCutOver, downtimeMs }) => [
      vmKey(endpoint, vmPath),
      {
        ...measuredSyncs(syncs),
        ...(downtimeMs !== undefined && { cutoverDowntimeMs: downtimeMs }),
        ...(isCutOver && { isCutOver }),
      },
    ]),
  );
}

const figures = {
  size: "fullBytes",
  rate: "bytesPerSecond",
  change: "changedBytesPerHour",
  sync: "syncMs",
} as const satisfies Record<string, keyof MeasuredVm>;
export type FleetFigure = keyof typeof figures;

/** Of how many VMs of a plan each figure is one that a source measured. */
export function countMeasured(
  { vms }: Pick<FleetPlan, "vms">,
  source: MeasuredVms,
): { readonly name: FleetFigure; readonly vmCount: number }[] {
  const known = vms.flatMap(({ endpoint, vmPath }) => source.get(vmKey(endpoint, vmPath)) ?? []);
  return (Object.keys(figures) as FleetFigure[])
    .map((name) => ({
      name,
      vmCount: known.filter((vm) => !vm.isCutOver && vm[figures[name]] !== undefined).length,
    }))
    .filter(({ vmCount }) => vmCount > 0);
}

/** Where they found the VMs. An inventory has other names for the same places: mixed, a host would count as two. */
export function placesByFleet(recorded: readonly RecordedVm[]): MeasuredVms {
  return new Map(
    recorded.map(({ endpoint, vmPath, host, datastores }) => [
      vmKey(endpoint, vmPath),
      {
        ...(host !== undefined && { host }),
        ...(datastores.length > 0 && { datastores }),
      },
    ]),
  );
}

/** Of syncs, oldest first. */
export function measuredSyncs(syncs: readonly MeasuredSync[]): MeasuredVm {
  const last = syncs.at(-1);
  if (last === undefined) return {};
  const full = syncs.findLast(({ kind, durationMs }) => kind === "full" && durationMs > 0);
  const deltas = syncs.filter(({ kind }) => kind === "incremental");
  const rate = full && (full.plannedBytes / full.durationMs) * 1000;
  const changed = changedPerHour(syncs);
  return {
    diskCount: last.diskCount,
    syncedAt: last.startedAtMs,
    ...(full && { fullBytes: full.plannedBytes }),
    // An empty disk says nothing of a rate.
    ...(rate && { bytesPerSecond: rate }),
    ...(changed !== undefined && { changedBytesPerHour: changed }),
    ...(deltas.length > 0 && { syncMs: Math.min(...deltas.map(({ durationMs }) => durationMs)) }),
  };
}

/** What incremental syncs brought, over the time in which it had changed. */
function changedPerHour(syncs: readonly MeasuredSync[]): number | undefined {
  let [bytes, spanMs] = [0, 0];
  for (const [at, sync] of syncs.entries()) {
    const before = syncs[at - 1];
    if (before === undefined || sync.kind !== "incremental") continue;
    bytes += sync.plannedBytes;
    spanMs += sync.startedAtMs - before.startedAtMs;
  }
  return spanMs > 0 ? (bytes / spanMs) * 3_600_000 : undefined;
}

/** Of a rehearsal as its JSON has it. */
function downtimeOf(result: unknown): number | undefined {
  const forecast = fieldOf(result, "forecast");
  const downtime = fieldOf(forecast, "downtime_ms");
  return typeof downtime === "number" ? downtime : undefined;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/**
 * Where VMs lie and how large they are, out of `migratekit inventory --json`.
 * @throws MigratekitError `usage` for a file that is none
 */
export function measuredByInventory(path: string): MeasuredVms {
  const document = readInventoryFile(path);
  const { endpoint, vms } = document as { endpoint?: unknown; vms?: unknown };
  if (typeof endpoint !== "string" || !Array.isArray(vms)) throw noInventory(path);
  const found = new Map<string, MeasuredVm>();
  for (const row of vms as Partial<InventoryRow>[]) {
    if (typeof row?.vm_path !== "string") throw noInventory(path);
    found.set(vmKey(endpoint, row.vm_path), measuredRow(endpoint, row));
  }
  return found;
}

function measuredRow(endpoint: string, row: Partial<InventoryRow>): MeasuredVm {
  const { host, datastores, disks, disk_bytes = 0, used_bytes } = row;
  // What is used counts snapshots and swap files, too.
  const fullBytes = Math.min(used_bytes ?? disk_bytes, disk_bytes);
  return {
    ...(host && { host: `${endpoint} ${host}` }),
    ...(datastores?.length && { datastores: datastores.map((name) => `${endpoint} ${name}`) }),
    ...(disks?.length && { diskCount: disks.length, fullBytes }),
  };
}

function readInventoryFile(path: string): object {
  try {
    const document: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof document === "object" && document !== null) return document;
  } catch (error) {
    if (error instanceof SyntaxError) throw noInventory(path);
    throw new MigratekitError(
      "usage",
      `--inventory ${path}: cannot be read: ${fileProblem(error)}`,
      { cause: error },
    );
  }
  throw noInventory(path);
}

function noInventory(path: string): MigratekitError {
  return new MigratekitError("usage", `--inventory ${path}: is not what inventory --json writes`, {
    remedy: "Make it anew: migratekit inventory --json > FILE.",
  });
}
