/** What each VM of a plan will ask of hosts, datastores, targets and lines: measured, or assumed and said so. */
import type { Config } from "../../config.ts";
import { targetUrisOf } from "../../migration/list/read-list.ts";
import { planConnections } from "../../migration/vm/host-connections.ts";
import { targetIdentity } from "../../nbd/target/uri.ts";
import { type OptionName, type OptionSpec, options } from "../../options.ts";
import type { RatePlan } from "../../rate-plan.ts";
import type { FleetPlan, PlannedVm } from "../fleet.ts";
import { type MeasuredVm, type MeasuredVms, vmKey } from "./measured.ts";

/** What holds where nothing was measured. */
export interface Assumptions {
  /** Of a VM's copy. */
  readonly bytesPerSecond: number;
  /** Of what a VM has, in a day: 0.05 is 5 %. */
  readonly changedPerDay: number;
  /** What a VM has. */
  readonly fullBytes: number;
  /** Of a cutover, besides its syncs of the running VM. */
  readonly downtimeMs: number;
  /** Of which that is the median; absent: it is given. */
  readonly cutoverCount?: number;
}

/** Who does the work. */
export interface Crew {
  readonly workers: number;
  /** Runs of each at a time. */
  readonly parallelVms: number;
  /** What the line to the targets carries, of all together; 0: more than they ask for. */
  readonly linkBytesPerSecond: number;
}

export const assumptionNames = [
  "host",
  "datastores",
  "size",
  "rate",
  "change",
  "downtime",
] as const;
export type AssumptionName = (typeof assumptionNames)[number];

export interface Job {
  readonly vm: PlannedVm;
  /** Undefined: not known, and counted on none. */
  readonly host: string | undefined;
  /** Connections to it. */
  readonly units: number;
  readonly datastores: readonly string[];
  /** `HOST:PORT` */
  readonly targetServers: readonly string[];
  readonly fullBytes: number;
  /** As long as nothing else slows it. */
  readonly bytesPerSecond: number;
  /** `max-rate`, by the local time of day. */
  readonly rates: RatePlan | undefined;
  readonly changedBytesPerMs: number;
  /** Of a sync, whatever it brings. */
  readonly syncMs: number;
  readonly downtimeMs: number;
  /** When its last sync began; undefined: it never was synced. */
  readonly syncedAt: number | undefined;
  readonly isCutOver: boolean;
  readonly assumed: readonly AssumptionName[];
}

/** Where none was measured: a snapshot made and removed, the targets opened and looked at. */
const assumedSyncMs = 60_000;

/** In the plan's order. */
export function jobsOf(
  plan: FleetPlan,
  measured: MeasuredVms,
  assumptions: Assumptions,
  crew: Crew,
): Job[] {
  const typical = withMedians(measured, assumptions);
  return plan.vms.map((vm) => {
    const known = measured.get(vmKey(vm.endpoint, vm.vmPath)) ?? {};
    const settings = placesOf(vm);
    const fullBytes = known.fullBytes ?? typical.fullBytes;
    const changedPerHour = known.changedBytesPerHour ?? (fullBytes * typical.changedPerDay) / 24;
    return {
      vm,
      host: known.host,
      units: unitsOf(settings, known.diskCount, plan.limits.hostConnections, crew),
      datastores: known.datastores ?? [],
      targetServers: settings.targetServers,
      fullBytes,
      bytesPerSecond: known.bytesPerSecond ?? typical.bytesPerSecond,
      rates: settings.maxRate,
      changedBytesPerMs: changedPerHour / 3_600_000,
      syncMs: known.syncMs ?? assumedSyncMs,
      downtimeMs: known.downtimeMs ?? typical.downtimeMs,
      syncedAt: known.syncedAt,
      isCutOver: known.isCutOver ?? false,
      assumed: assumedOf(known),
    };
  });
}

/** VMs of one house are more like each other than like anybody's guess. */
export function withMedians(measured: MeasuredVms, assumptions: Assumptions): Assumptions {
  const rates = [...measured.values()].flatMap(({ bytesPerSecond }) => bytesPerSecond ?? []);
  const downtimes = [...measured.values()].flatMap(
    ({ cutoverDowntimeMs }) => cutoverDowntimeMs ?? [],
  );
  const downtimeMs = medianOf(downtimes);
  return {
    ...assumptions,
    bytesPerSecond: medianOf(rates) ?? assumptions.bytesPerSecond,
    ...(downtimeMs !== undefined && { downtimeMs, cutoverCount: downtimes.length }),
  };
}

function medianOf(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function assumedOf(known: MeasuredVm): AssumptionName[] {
  const names: (AssumptionName | undefined)[] = [
    known.host === undefined ? "host" : undefined,
    known.datastores === undefined ? "datastores" : undefined,
    known.fullBytes === undefined ? "size" : undefined,
    known.bytesPerSecond === undefined ? "rate" : undefined,
    known.changedBytesPerHour === undefined ? "change" : undefined,
    known.downtimeMs === undefined ? "downtime" : undefined,
  ];
  return names.filter((name) => name !== undefined);
}

type Places = Pick<Config, "parallelDisks" | "sourceConnections" | "maxRate"> & {
  readonly targetServers: readonly string[];
  /** Of the targets that the plan names one by one. */
  readonly diskCount: number | undefined;
};

function placesOf({ settings }: PlannedVm): Places {
  const settingValue = <T>(name: OptionName): T => {
    const { parse, fallback } = options[name] as OptionSpec<T>;
    const text = settings[name] ?? fallback;
    return (text === undefined ? undefined : parse(text)) as T;
  };
  const uris = targetUrisOf({
    nbdHost: settingValue("nbd-host"),
    nbdPort: settingValue("nbd-port"),
    nbdExportName: settingValue("nbd-export-name"),
    nbdTargets: settingValue("nbd-targets"),
  });
  const servers = uris.map((uri) => targetIdentity(uri)).map((id) => id.slice(0, id.indexOf("#")));
  return {
    parallelDisks: settingValue("parallel-disks"),
    sourceConnections: settingValue("source-connections"),
    maxRate: settingValue("max-rate"),
    targetServers: [...new Set(servers)],
    diskCount: settings["nbd-targets"] === undefined ? undefined : uris.length,
  };
}

function unitsOf(
  settings: Places,
  knownDisks: number | undefined,
  limit: number,
  { parallelVms }: Crew,
): number {
  const fairShare = Math.max(1, Math.floor(limit / parallelVms));
  return planConnections(settings, settings.diskCount ?? knownDisks ?? 1, { limit, fairShare })
    .total;
}
