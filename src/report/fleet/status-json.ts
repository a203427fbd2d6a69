/** `fleet status --json`: names and units are an interface. */
import type {
  FleetPlaceStatus,
  FleetStatus,
  FleetVmStatus,
  FleetVmSync,
  FleetWaveStatus,
} from "../../fleet/status.ts";
import { factsOf } from "./ending.ts";
import { deltasOf, type Experience, experienceOf, predictDowntime, totalsOf } from "./fleet.ts";

/** All but the list of VMs, which may be long. */
export function fleetHead(status: FleetStatus) {
  const { at, limits, targetDropMs, workers, hosts, datastores, targetServers, waves } = status;
  const { vms, inSync, cutOver, failed, running } = totalsOf(waves);
  return {
    at,
    total: { vm_count: vms, in_sync: inSync, cut_over: cutOver, failed, running },
    limits: {
      host_connections: limits.hostConnections,
      datastore_runs: limits.datastoreRuns,
      target_runs: limits.targetRuns,
    },
    target_drop_ms: targetDropMs,
    waves: waves.map((wave) => ({
      name: wave.name,
      paused: wave.paused,
      vm_count: wave.vmCount,
      in_sync: wave.inSync,
      cut_over: wave.cutOver,
      failed: wave.failed,
      running: wave.running,
      states: statesDocument(wave.states),
      next_run_at: wave.nextRunAt,
    })),
    workers: workers.map((worker) => ({
      name: worker.name,
      alive: worker.alive,
      seen_at: worker.seenAt,
      runs: worker.runs,
      parallel: worker.parallel,
      version: worker.version,
      labels: worker.labels,
    })),
    hosts: hosts.map(placeDocument),
    datastores: datastores.map(placeDocument),
    target_servers: targetServers.map(placeDocument),
  };
}

function statesDocument({ "cut-over": cutOver, ...states }: FleetWaveStatus["states"]) {
  return { ...states, cut_over: cutOver };
}

function placeDocument({ id, used, capacity }: FleetPlaceStatus) {
  return { id, used, capacity };
}

/** The VMs of a status, in its order. */
export function fleetVms({ vms }: FleetStatus) {
  const experience = experienceOf(vms);
  return vms.map((vm) => vmDocument(vm, experience));
}

function vmDocument(vm: FleetVmStatus, experience: Experience | undefined) {
  const { progress, lastError } = vm;
  const downtime = predictDowntime(vm, experience);
  return {
    name: vm.name,
    endpoint: vm.endpoint,
    vm_path: vm.vmPath,
    wave: vm.wave,
    priority: vm.priority,
    labels: vm.labels,
    after: vm.after,
    state: vm.state,
    why: vm.why,
    action: vm.action,
    cutover_asked_at: vm.cutoverAskedAt,
    next_run_at: vm.nextRunAt,
    window_closes_at: vm.windowClosesAt,
    worker: vm.worker,
    started_at: vm.startedAt,
    progress: progress && {
      stage: progress.stage,
      done_bytes: progress.doneBytes,
      planned_bytes: progress.plannedBytes,
      rate_bps: progress.bytesPerSecond,
    },
    host: vm.host,
    failures: vm.failures,
    last_error: lastError && {
      at: lastError.at,
      code: lastError.code,
      exit_code: lastError.exitCode,
      message: lastError.message,
      remedy: lastError.remedy,
    },
    last_sync_at: vm.lastSyncAt,
    cut_over_at: vm.cutOverAt,
    delta_bytes: deltasOf(vm).at(-1),
    predicted_downtime: downtime && {
      last_sync_ms: downtime.lastSyncMs,
      downtime_ms: downtime.allMs,
    },
    runs: vm.syncs.map(runDocument),
  };
}

function runDocument(sync: FleetVmSync) {
  const facts = factsOf(sync);
  return {
    run_id: facts.runId,
    at: sync.at,
    action: sync.action,
    status: sync.status,
    worker: sync.worker,
    duration_ms: Math.round(sync.durationMs),
    sync_type: facts.type,
    planned_bytes: facts.plannedBytes,
    written_bytes: facts.writtenBytes,
    zeroed_bytes: facts.zeroedBytes,
    rate_bps: facts.rateBps,
    downtime_ms: facts.downtimeMs,
    error_code: sync.errorCode,
    disks: facts.disks.map(({ id, target, capacityBytes, verification }) => ({
      disk_id: id,
      target,
      capacity_bytes: capacityBytes,
      verification: verification && {
        result: verification.result,
        compared_bytes: verification.comparedBytes,
        digest: verification.digest,
      },
    })),
  };
}
