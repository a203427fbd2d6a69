/**
 * The fleet for Prometheus: what the database knows of it, asked for by one exporter, and what each worker
 * knows of itself. Label sets are bounded: waves, states, workers, places; of VMs only those in trouble.
 */

import { buildInfo } from "../../build-info.ts";
import { type FleetPlaceStatus, type FleetStatus, fleetVmStates } from "../../fleet/status.ts";
import type { WorkerFacts } from "../../fleet/worker/watch.ts";
import { type Labels, type Metric, metricsText } from "../../progress/metrics.ts";

const prefix = "migratekit_fleet_";
const workerPrefix = "migratekit_worker_";

/** Series of one metric: of places, workers, and VMs in trouble. */
const seriesMax = 1000;

/** `status` with all VMs of the plan; their past runs are not looked at. */
export function fleetMetricsText(status: FleetStatus): string {
  return metricsText([...build(), ...fleetMetrics(status)]);
}

function fleetMetrics(status: FleetStatus): Metric[] {
  const { waves, workers, vms } = status;
  const nowMs = Date.parse(status.at);
  const ofWaves = (value: (wave: FleetStatus["waves"][number]) => number) =>
    waves.map((wave) => ({ labels: { wave: wave.name }, value: value(wave) }));
  const byWave = Map.groupBy(vms, ({ wave }) => wave);
  const ofVms = (value: (vms: FleetStatus["vms"]) => number) =>
    waves.map(({ name }) => ({ labels: { wave: name }, value: value(byWave.get(name) ?? []) }));
  const ofWorkers = (value: (worker: FleetStatus["workers"][number]) => number) =>
    workers
      .slice(0, seriesMax)
      .map((worker) => ({ labels: { worker: worker.name }, value: value(worker) }));
  return [
    gauge("status_timestamp_seconds", "Time of the database's server at the last look.", [
      { labels: {}, value: nowMs / 1000 },
    ]),
    gauge(
      "vms",
      "VMs of a wave in a state.",
      waves.flatMap(({ name }) =>
        fleetVmStates.map((state) => ({
          labels: { wave: name, state },
          value: (byWave.get(name) ?? []).filter((vm) => vm.state === state).length,
        })),
      ),
    ),
    gauge(
      "wave_vms",
      "VMs of a wave.",
      ofWaves(({ vmCount }) => vmCount),
    ),
    gauge(
      "wave_in_sync_vms",
      "VMs with a completed sync whose last run went well, and that are not cut over.",
      ofWaves(({ inSync }) => inSync),
    ),
    gauge(
      "wave_cut_over_vms",
      "VMs that were cut over.",
      ofWaves(({ cutOver }) => cutOver),
    ),
    gauge(
      "wave_failed_vms",
      "VMs that wait for 'migratekit fleet retry'.",
      ofWaves(({ failed }) => failed),
    ),
    gauge(
      "wave_running_vms",
      "VMs that a worker is at.",
      ofWaves(({ running }) => running),
    ),
    gauge(
      "wave_paused",
      "Whether a wave is paused (1).",
      ofWaves(({ paused }) => Number(paused)),
    ),
    gauge(
      "wave_oldest_sync_age_seconds",
      "Since the oldest of the last completed syncs of its VMs that are not cut over.",
      ofVms((of) =>
        oldest(
          of.map((vm) => (isLeft(vm) ? vm.lastSyncAt : undefined)),
          nowMs,
        ),
      ),
    ),
    gauge(
      "wave_longest_due_seconds",
      "How long the VM that is due waits which waits longest.",
      ofVms((of) =>
        oldest(
          of.map((vm) => (vm.state === "due" ? vm.nextRunAt : undefined)),
          nowMs,
        ),
      ),
    ),
    gauge(
      "wave_delta_bytes",
      "Bytes of the last completed syncs of its VMs that are not cut over.",
      ofVms((of) => sum(of.map((vm) => (isLeft(vm) ? (vm.deltaBytes ?? 0) : 0)))),
    ),
    gauge(
      "wave_running_bytes_per_second",
      "What its runs copy a second.",
      ofVms((of) =>
        sum(of.map((vm) => (vm.state === "running" ? (vm.progress?.bytesPerSecond ?? 0) : 0))),
      ),
    ),
    gauge(
      "vm_trouble",
      "VMs that stand still until an operator has seen to them (1).",
      troubled(vms),
    ),
    gauge("worker_up", "Whether it was heard of within a lease's life (1).", [
      ...ofWorkers(({ alive }) => Number(alive)),
    ]),
    gauge(
      "worker_seen_timestamp_seconds",
      "When it was heard of last.",
      ofWorkers(({ seenAt }) => Date.parse(seenAt) / 1000),
    ),
    gauge(
      "worker_leases",
      "VMs that it holds.",
      ofWorkers(({ runs }) => runs),
    ),
    gauge(
      "worker_runs_max",
      "Runs that it does at a time.",
      ofWorkers(({ parallel }) => parallel),
    ),
    gauge(
      "worker_info",
      "Its version.",
      workers.slice(0, seriesMax).map(({ name, version }) => ({
        labels: { worker: name, version },
        value: 1,
      })),
    ),
    ...places("host", "connections", "Connections to an ESXi host", status.hosts),
    ...places("datastore", "runs", "Runs that read from a datastore", status.datastores),
    ...places("target_server", "runs", "Runs that write to a target server", status.targetServers),
  ];
}

function isLeft({ state }: FleetStatus["vms"][number]): boolean {
  return state !== "cut-over";
}

/** In use, and the limit where there is one. */
function places(
  kind: "host" | "datastore" | "target_server",
  unit: string,
  help: string,
  found: readonly FleetPlaceStatus[],
): Metric[] {
  const kept = found.slice(0, seriesMax);
  const samples = (of: readonly FleetPlaceStatus[], value: (place: FleetPlaceStatus) => number) =>
    of.map((place) => ({ labels: { [kind]: place.id }, value: value(place) }));
  return [
    gauge(
      `${kind}_${unit}`,
      `${help}.`,
      samples(kept, ({ used }) => used),
    ),
    gauge(
      `${kind}_${unit}_max`,
      `${help}: the limit.`,
      samples(
        kept.filter(({ capacity }) => capacity > 0),
        ({ capacity }) => capacity,
      ),
    ),
  ];
}

function troubled(vms: FleetStatus["vms"]): Metric["samples"] {
  return vms
    .filter(({ state }) => state === "failed" || state === "takeover")
    .slice(0, seriesMax)
    .map(({ name, wave, state, lastError }) => ({
      labels: { vm: name, wave, state, code: lastError?.code ?? "" },
      value: 1,
    }));
}

export function workerMetricsText(facts: WorkerFacts): string {
  const { name: worker, runs, sinceDatabaseMs } = facts;
  const one = (value: number | undefined, labels: Labels = {}) =>
    value === undefined ? [] : [{ labels: { worker, ...labels }, value }];
  const own = (name: string, help: string, samples: Metric["samples"]): Metric => ({
    ...gauge(name, help, samples),
    name: workerPrefix + name,
  });
  const actions = Object.entries(Object.groupBy(runs, ({ action }) => action));
  const leases = runs.map(({ leaseLeftMs }) => leaseLeftMs);
  return metricsText([
    ...build(),
    own(
      "runs",
      "Runs at work.",
      actions.flatMap(([action, of = []]) => one(of.length, { action })),
    ),
    own("runs_max", "Runs that it does at a time.", one(facts.parallel)),
    own("draining", "Whether it takes no VM any more (1).", one(Number(facts.draining))),
    own(
      "database_silence_seconds",
      "Since the fleet's database last answered.",
      one(sinceDatabaseMs === undefined ? undefined : sinceDatabaseMs / 1000),
    ),
    own(
      "lease_left_seconds",
      "Of the lease that ends first; from 0 on its run writes nothing.",
      leases.length === 0 ? [] : one(Math.min(...leases) / 1000),
    ),
    own(
      "copy_bytes_per_second",
      "What its runs copy a second.",
      one(sum(runs.map(({ bytesPerSecond }) => bytesPerSecond))),
    ),
    {
      name: `${workerPrefix}runs_total`,
      help: "Runs that have ended since it began.",
      type: "counter",
      samples: Object.entries(facts.ended).flatMap(([status, count]) => one(count, { status })),
    },
    {
      name: `${workerPrefix}copied_bytes_total`,
      help: "Bytes that its runs have copied since it began.",
      type: "counter",
      samples: one(facts.copiedBytes),
    },
  ]);
}

function build(): Metric[] {
  const samples = [{ labels: { version: buildInfo.version }, value: 1 }];
  return [
    {
      name: "migratekit_build_info",
      help: "Version that tells this.",
      type: "gauge",
      samples,
    },
  ];
}

function gauge(name: string, help: string, samples: Metric["samples"]): Metric {
  return { name: prefix + name, help, type: "gauge", samples };
}

/** Seconds since the oldest of these times; 0 where there is none, or it is to come. */
function oldest(times: readonly (string | undefined)[], nowMs: number): number {
  const known = times.filter((time) => time !== undefined).map((time) => Date.parse(time));
  return Math.max(0, nowMs - known.reduce((least, time) => Math.min(least, time), nowMs)) / 1000;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
