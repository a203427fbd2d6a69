/**
 * `--metrics-file`: what node_exporter's textfile collector reads. Made anew at the end of every run
 * from the state directory, so that the runs of many VMs may share one file.
 */
import { readFileSync } from "node:fs";
import { buildInfo } from "../build-info.ts";
import { type Config, endpointText } from "../config.ts";
import { fileProblem } from "../file-problem.ts";
import { type Labels, type Metric, metricsText, samplesOf } from "../progress/metrics.ts";
import { replaceFile } from "../replace-file.ts";
import { State } from "../state/state.ts";
import type { DiskTotals, VmTotals } from "../state/sync-totals.ts";
import { normalEndpoint } from "../state/vm-identity.ts";

const prefix = "migratekit_";

/** `failed`: how the run just ended. @throws Error saying why the file cannot be written */
export function writeMetrics(config: Config, path: string, failed: boolean): void {
  try {
    replaceFile(path, () => metricsText(collectMetrics(config, failed, readOld(path))));
  } catch (error) {
    throw new Error(fileProblem(error), { cause: error });
  }
}

function readOld(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function collectMetrics(config: Config, failed: boolean, old: string): Metric[] {
  using state = State.openExisting(config.stateDir);
  const vms = onePerPath(state?.syncTotals() ?? []);
  const known = new Set(vms.map((vm) => keyOf(labelsOf(vm))));
  const strangers = unknownVms(config, failed, known, old);
  return [
    {
      name: `${prefix}build_info`,
      help: "Version that wrote this file.",
      type: "gauge",
      samples: [{ labels: { version: buildInfo.version }, value: 1 }],
    },
    ...vmMetrics(vms, strangers),
    ...diskMetrics(vms),
  ];
}

/** A VM that took another's place goes by the same labels, and a series may be there only once. */
function onePerPath(vms: readonly VmTotals[]): VmTotals[] {
  const newest = new Map<string, VmTotals>();
  for (const vm of vms) {
    const key = keyOf(labelsOf(vm));
    const other = newest.get(key);
    const later = (vm.lastRun?.endedAtMs ?? 0) >= (other?.lastRun?.endedAtMs ?? 0);
    if (other === undefined || later) newest.set(key, vm);
  }
  return [...newest.values()];
}

interface Stranger {
  readonly labels: Labels;
  readonly failures: number;
  readonly atSeconds: number;
}

const failuresName = `${prefix}failures_total`;
const lastRunName = `${prefix}last_run_timestamp_seconds`;

/**
 * VMs that no run ever got as far as to find: their identity is not known, so the state has nothing
 * of them. Their failures are counted on in the file itself.
 */
function unknownVms(
  config: Config,
  failed: boolean,
  known: ReadonlySet<string>,
  old: string,
): Stranger[] {
  const times = new Map(
    samplesOf(old, lastRunName).map(({ labels, value }) => [keyOf(labels), value]),
  );
  const strangers = new Map<string, Stranger>();
  for (const { labels, value } of samplesOf(old, failuresName)) {
    const key = keyOf(labels);
    if (!known.has(key)) {
      strangers.set(key, { labels, failures: value, atSeconds: times.get(key) ?? 0 });
    }
  }
  if (config.vmwarePath !== undefined && config.vmwareEndpoint !== undefined && failed) {
    const labels = labelsOf({ vmPath: config.vmwarePath, endpoint: endpointText(config) });
    const key = keyOf(labels);
    if (!known.has(key)) {
      const failures = (strangers.get(key)?.failures ?? 0) + 1;
      strangers.set(key, { labels, failures, atSeconds: seconds(Date.now()) });
    }
  }
  return [...strangers.values()];
}

function vmMetrics(vms: readonly VmTotals[], strangers: readonly Stranger[]): Metric[] {
  const of = (value: (vm: VmTotals) => number | undefined) =>
    vms.flatMap((vm) => {
      const number = value(vm);
      return number === undefined ? [] : [{ labels: labelsOf(vm), value: number }];
    });
  const add = (value: (stranger: Stranger) => number) =>
    strangers.map((stranger) => ({ labels: stranger.labels, value: value(stranger) }));
  return [
    gauge("last_success_timestamp_seconds", "End of the last sync of all disks.", [
      ...of((vm) => vm.lastSuccess && seconds(vm.lastSuccess.endedAtMs)),
    ]),
    gauge("last_run_timestamp_seconds", "End of the last sync, well or not.", [
      ...of((vm) => vm.lastRun && seconds(vm.lastRun.endedAtMs)),
      ...add(({ atSeconds }) => atSeconds),
    ]),
    gauge("last_run_success", "Whether the last sync completed (1) or not (0).", [
      ...of((vm) => vm.lastRun && (vm.lastRun.completed ? 1 : 0)),
      ...add(() => 0),
    ]),
    gauge("last_run_duration_seconds", "Time that the last sync took.", [
      ...of((vm) => vm.lastRun && seconds(vm.lastRun.durationMs)),
    ]),
    {
      name: failuresName,
      help: "Syncs that failed or died.",
      type: "counter",
      samples: [...of((vm) => vm.failures), ...add(({ failures }) => failures)],
    },
  ];
}

type LastSync = NonNullable<DiskTotals["last"]>;

/** Of the last sync that completed a disk: name after `disk_`, help, value. */
const lastSyncGauges: readonly [string, string, (last: LastSync) => number][] = [
  [
    "last_success_timestamp_seconds",
    "End of the last sync that completed this disk.",
    (last) => seconds(last.endedAtMs),
  ],
  ["last_duration_seconds", "Time that it took.", (last) => last.durationMs / 1000],
  ["last_planned_bytes", "Bytes it planned.", (last) => last.plannedBytes],
  ["last_written_bytes", "Bytes of data it wrote.", (last) => last.copiedBytes],
  ["last_copied_bytes", "The same, by its older name.", (last) => last.copiedBytes],
  ["last_zeroed_bytes", "Bytes it made zero.", (last) => last.zeroedBytes],
  ["last_retries", "Retries it needed.", (last) => last.retries],
  ["capacity_bytes", "Capacity of the disk.", (last) => last.capacityBytes],
];

function diskMetrics(vms: readonly VmTotals[]): Metric[] {
  const disks = vms.flatMap((vm) => vm.disks.map((disk) => ({ disk, labels: labelsOf(vm, disk) })));
  const synced = disks.flatMap(({ disk: { last }, labels }) => (last ? [{ last, labels }] : []));
  return [
    ...lastSyncGauges.map(([name, help, value]) =>
      gauge(
        `disk_${name}`,
        help,
        synced.map(({ last, labels }) => ({ labels, value: value(last) })),
      ),
    ),
    gauge(
      "disk_last_sync_info",
      "Its type: full or incremental.",
      synced.map(({ last, labels }) => ({
        labels: { ...labels, sync_type: last.syncType },
        value: 1,
      })),
    ),
    {
      name: `${prefix}disk_failures_total`,
      help: "Syncs that failed while copying this disk.",
      type: "counter",
      samples: disks.map(({ disk, labels }) => ({ labels, value: disk.failures })),
    },
  ];
}

function gauge(name: string, help: string, samples: Metric["samples"]): Metric {
  return { name: prefix + name, help, type: "gauge", samples };
}

function labelsOf(vm: Pick<VmTotals, "vmPath" | "endpoint">, disk?: DiskTotals): Labels {
  return {
    vm: vm.vmPath,
    endpoint: normalEndpoint(vm.endpoint),
    ...(disk === undefined ? {} : { disk: `disk-${disk.deviceKey}` }),
  };
}

function keyOf({ vm, endpoint }: Labels): string {
  return `${vm}\n${endpoint}`;
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}
