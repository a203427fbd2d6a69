/** What a plan would come to, as `fleet plan --json` has it. Names and units are an interface. */
import type {
  Forecast,
  ForecastInput,
  Trouble,
  VmForecast,
  WaveForecast,
} from "../../fleet/forecast/forecast.ts";
import type { countMeasured } from "../../fleet/forecast/measured.ts";
import { assumptionText, boundText, measuredText, troubleText } from "./words.ts";

/**
 * All but the VMs one by one, which may be thousands. `byFleet`: what its own runs measured; undefined: no database
 * was asked.
 */
export function planDocument(
  file: string,
  input: ForecastInput,
  forecast: Forecast,
  byFleet?: ReturnType<typeof countMeasured>,
) {
  const { plan, crew } = input;
  const { waves, trouble, assumed, assumptions, startAt } = forecast;
  return {
    file,
    start_at: iso(startAt),
    vm_count: plan.vms.length,
    first_bytes: waves.reduce((sum, { firstBytes }) => sum + firstBytes, 0),
    workers: crew.workers,
    parallel_vms: crew.parallelVms,
    ...(crew.linkBytesPerSecond > 0 && { link_bps: crew.linkBytesPerSecond }),
    limits: {
      host_connections: plan.limits.hostConnections,
      datastore_runs: plan.limits.datastoreRuns,
      target_runs: plan.limits.targetRuns,
      ...(plan.targetDropMs !== undefined && { target_drop_ms: plan.targetDropMs }),
    },
    trouble: trouble.map(troubleDocument),
    waves: waves.map(waveDocument),
    assumed: assumed.map(({ name, vmCount }) => ({
      what: name,
      vm_count: vmCount,
      message: assumptionText(name, assumptions),
    })),
    ...(byFleet && {
      measured: byFleet.map(({ name, vmCount }) => ({
        what: name,
        vm_count: vmCount,
        message: measuredText(name),
      })),
    }),
  };
}

export type PlanDocument = ReturnType<typeof planDocument>;

function troubleDocument(trouble: Trouble) {
  return {
    kind: trouble.kind,
    message: troubleText(trouble),
    ...("vms" in trouble && { vms: trouble.vms }),
    ...("host" in trouble && { host: trouble.host }),
  };
}

function waveDocument(wave: WaveForecast) {
  const { count, fit, firstAt, lastEndsAt } = wave.cutovers;
  return {
    name: wave.name,
    vm_count: wave.vmCount,
    first_bytes: wave.firstBytes,
    ...(wave.inSyncAt !== undefined && { in_sync_at: iso(wave.inSyncAt) }),
    ...(wave.boundBy && { bound_by: wave.boundBy, bound: boundText(wave.boundBy, wave.boundAt) }),
    cutover_count: count,
    cutover_fit_count: fit,
    ...(firstAt !== undefined && { cutovers_begin_at: iso(firstAt) }),
    ...(lastEndsAt !== undefined && { cutovers_end_at: iso(lastEndsAt) }),
  };
}

export function vmDocument({ job, course, fits }: VmForecast) {
  const { cutover, inSyncAt } = course;
  return {
    name: job.vm.name,
    endpoint: job.vm.endpoint,
    vm_path: job.vm.vmPath,
    wave: job.vm.wave,
    ...(job.host !== undefined && { host: job.host }),
    connections: job.units,
    downtime_ms: Math.round(job.downtimeMs),
    first_bytes: job.syncedAt === undefined && !job.isCutOver ? Math.round(job.fullBytes) : 0,
    ...(job.isCutOver && { cut_over: true }),
    ...(inSyncAt !== undefined && { in_sync_at: iso(inSyncAt) }),
    ...(cutover && {
      cutover: {
        begins_at: iso(cutover.beginsAt),
        ends_at: iso(cutover.endsAt),
        ...(Number.isFinite(cutover.closesAt) && { window_closes_at: iso(cutover.closesAt) }),
        fits: fits === true,
      },
    }),
    assumed: job.assumed,
  };
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
