/** Plans and what is known of their VMs, in a few words. */
import type { FleetPlan, PlannedVm } from "../../../src/fleet/fleet.ts";
import {
  type Forecast,
  forecastPlan,
  type VmForecast,
} from "../../../src/fleet/forecast/forecast.ts";
import type { Crew } from "../../../src/fleet/forecast/job.ts";
import { type MeasuredVm, vmKey } from "../../../src/fleet/forecast/measured.ts";

export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;
/** A Tuesday. */
export const startAt = Date.parse("2026-12-01T12:00:00Z");

/** Copied in an hour when nothing is in its way; its syncs take a minute, its cutover ten. */
export const hourly: MeasuredVm = {
  diskCount: 1,
  fullBytes: 3600 * 1000,
  bytesPerSecond: 1000,
  changedBytesPerHour: 0,
  syncMs: minuteMs,
  downtimeMs: 10 * minuteMs,
};

export interface Given {
  readonly vm?: Partial<PlannedVm>;
  readonly known?: MeasuredVm;
}

export function planned(name: string, vm: Partial<PlannedVm> = {}): PlannedVm {
  return {
    name,
    endpoint: "vc:443",
    vmPath: `/DC/vm/${name}`,
    wave: "1",
    priority: 0,
    schedule: { kind: "once" },
    syncWindows: [],
    cutoverWindows: [],
    after: [],
    labels: [],
    ...vm,
    // One connection, which is what a run of one disk would open with this.
    settings: { "source-connections": "1", ...vm.settings },
  };
}

export const crewOf = (runs: number, linkBytesPerSecond = 0): Crew => ({
  workers: 1,
  parallelVms: runs,
  linkBytesPerSecond,
});

/** Each VM is `hourly`, and besides what is given of it. */
export function forecastOf(
  vms: Readonly<Record<string, Given>>,
  crew: Crew = crewOf(100),
  limits: Partial<FleetPlan["limits"]> = {},
): Forecast & { of(name: string): VmForecast } {
  const plan: FleetPlan = {
    limits: { hostConnections: 24, datastoreRuns: 0, targetRuns: 0, ...limits },
    vms: Object.entries(vms).map(([name, { vm }]) => planned(name, vm)),
  };
  const measured = new Map(
    Object.entries(vms).map(([name, { known }]) => [
      vmKey("vc:443", `/DC/vm/${name}`),
      { ...hourly, ...known },
    ]),
  );
  const assumptions = {
    bytesPerSecond: 500,
    changedPerDay: 0.1,
    fullBytes: 1_000_000,
    downtimeMs: minuteMs,
  };
  const forecast = forecastPlan({ plan, measured, assumptions, crew, startAt });
  const of = (name: string) => forecast.vms.find(({ job }) => job.vm.name === name)!;
  return { ...forecast, of };
}

/** Minutes from the start. */
export function minutes(at: number | undefined): number {
  return at === undefined ? Number.NaN : Math.round((at - startAt) / minuteMs);
}
