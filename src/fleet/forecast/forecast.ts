/** What a plan would come to: when each wave is in sync, whether cutovers fit their windows, what bounds it. */
import type { FleetPlan } from "../fleet.ts";
import {
  type AssumptionName,
  type Assumptions,
  assumptionNames,
  type Crew,
  type Job,
  jobsOf,
  withMedians,
} from "./job.ts";
import type { Wait } from "./line.ts";
import type { MeasuredVms } from "./measured.ts";
import { type Course, simulate, syncShare } from "./simulate.ts";

/** What takes the time of a wave's first syncs: a wait, or the copies themselves. */
export type Bound = Wait | "window" | "schedule" | "copy";

export interface WaveForecast {
  readonly name: string;
  readonly vmCount: number;
  /** Of first syncs that are still to be made. */
  readonly firstBytes: number;
  /** When all of it is in sync, ms since 1970; undefined: not within five years. */
  readonly inSyncAt: number | undefined;
  /** Undefined: all of it is in sync or cut over. */
  readonly boundBy: Bound | undefined;
  /** Which host, datastore or target server that is. */
  readonly boundAt: string | undefined;
  readonly cutovers: CutoverSummary;
}

export interface CutoverSummary {
  /** Those that were not cut over before. */
  readonly count: number;
  readonly fit: number;
  readonly firstAt: number | undefined;
  readonly lastEndsAt: number | undefined;
}

export interface VmForecast {
  readonly job: Job;
  readonly course: Course;
  /** Undefined: it was cut over already, or never would be. */
  readonly fits: boolean | undefined;
}

export interface Forecast {
  readonly startAt: number;
  readonly waves: readonly WaveForecast[];
  readonly vms: readonly VmForecast[];
  /** Most serious first. */
  readonly trouble: readonly Trouble[];
  readonly assumed: readonly { readonly name: AssumptionName; readonly vmCount: number }[];
  /** As they were used: a rate that was measured of other VMs stands for the given one. */
  readonly assumptions: Assumptions;
}

export type Trouble =
  | { readonly kind: "never-in-sync"; readonly vms: readonly string[] }
  /** In sync, but what it waits for is not, within five years. */
  | { readonly kind: "never-cut-over"; readonly vms: readonly string[] }
  /** Its cutover would end after its window, however early it begins; spans of the first of them. */
  | {
      readonly kind: "window-too-short";
      readonly vms: readonly string[];
      readonly cutoverMs: number;
      readonly windowMs: number;
    }
  /** It would fit, but begins late: it waits for others. */
  | { readonly kind: "window-begun-late"; readonly vms: readonly string[] }
  /** A sync takes longer than the time to the next. */
  | { readonly kind: "sync-too-long"; readonly vms: readonly string[] }
  /** More connections at all times than a host has, for the schedules of its VMs. */
  | { readonly kind: "host-overbooked"; readonly host: string; readonly connections: number }
  /** More runs at all times than the appliances do. */
  | { readonly kind: "appliances-overbooked"; readonly runs: number };

export interface ForecastInput {
  readonly plan: FleetPlan;
  readonly measured: MeasuredVms;
  readonly assumptions: Assumptions;
  readonly crew: Crew;
  /** When the plan is applied, ms since 1970. */
  readonly startAt: number;
}

export function forecastPlan({
  plan,
  measured,
  assumptions,
  crew,
  startAt,
}: ForecastInput): Forecast {
  const jobs = jobsOf(plan, measured, assumptions, crew);
  const courses = simulate(jobs, plan.limits, crew, startAt);
  const vms = jobs.map((job, at): VmForecast => {
    const course = courses[at]!;
    const { cutover } = course;
    return { job, course, fits: cutover && cutover.endsAt <= cutover.closesAt };
  });
  return {
    startAt,
    waves: [...Map.groupBy(vms, ({ job }) => job.vm.wave)].map(([name, own]) => waveOf(name, own)),
    vms,
    trouble: [...troubleOfVms(vms, startAt), ...overbooked(jobs, plan, crew, startAt)],
    assumed: assumptionNames
      .map((name) => {
        const vmCount = jobs.filter((job) => !job.isCutOver && job.assumed.includes(name)).length;
        return { name, vmCount };
      })
      .filter(({ vmCount }) => vmCount > 0),
    assumptions: withMedians(measured, assumptions),
  };
}

function waveOf(name: string, vms: readonly VmForecast[]): WaveForecast {
  const open = vms.filter(({ job }) => !job.isCutOver);
  const fresh = open.filter(({ job }) => job.syncedAt === undefined);
  const times = open.map(({ course }) => course.inSyncAt ?? Number.POSITIVE_INFINITY);
  const inSyncAt = maxOf(times);
  return {
    name,
    vmCount: vms.length,
    firstBytes: fresh.reduce((sum, { job }) => sum + job.fullBytes, 0),
    inSyncAt: inSyncAt === Number.POSITIVE_INFINITY ? undefined : inSyncAt,
    ...boundOf(fresh),
    cutovers: cutoversOf(open),
  };
}

function cutoversOf(open: readonly VmForecast[]): CutoverSummary {
  const courses = open.flatMap(({ course }) => course.cutover ?? []);
  const lastEndsAt = maxOf(courses.map(({ endsAt }) => endsAt));
  const firstAt = maxOf(courses.map(({ beginsAt }) => -beginsAt));
  return {
    count: open.length,
    fit: open.filter(({ fits }) => fits).length,
    firstAt: firstAt === undefined ? undefined : -firstAt,
    lastEndsAt,
  };
}

/** What most of their time went to, all together. */
function boundOf(vms: readonly VmForecast[]): Pick<WaveForecast, "boundBy" | "boundAt"> {
  const spent = new Map<Bound, number>();
  const add = (bound: Bound, ms: number) => spent.set(bound, (spent.get(bound) ?? 0) + ms);
  for (const { course } of vms) {
    for (const [bound, ms] of Object.entries(course.waited)) add(bound as Bound, ms);
    add("copy", course.copyMs);
    add("link", course.linkMs);
  }
  const [boundBy] = [...spent].sort((a, b) => b[1] - a[1])[0] ?? [];
  return { boundBy, boundAt: boundBy && placeOf(boundBy, vms) };
}

/** The one at which most was waited. */
function placeOf(bound: Bound, vms: readonly VmForecast[]): string | undefined {
  const places = new Map<string, number>();
  for (const { job, course } of vms) {
    const own = {
      host: job.host === undefined ? [] : [job.host],
      datastore: job.datastores,
      target: job.targetServers,
    }[bound as string];
    const ms = own ? course.waited[bound as Wait] : 0;
    for (const place of own ?? []) places.set(place, (places.get(place) ?? 0) + ms);
  }
  return [...places].sort((a, b) => b[1] - a[1])[0]?.[0];
}

function troubleOfVms(vms: readonly VmForecast[], startAt: number): Trouble[] {
  const open = vms.filter(({ job }) => !job.isCutOver);
  const late = open.filter(({ fits }) => fits === false);
  const [short, begunLate] = [true, false].map((isShort) =>
    late.filter((vm) => cutoverMsOf(vm) > longestWindowMs(vm) === isShort),
  ) as [VmForecast[], VmForecast[]];
  const never = open.filter(({ course }) => course.inSyncAt === undefined);
  const uncut = open.filter(({ course }) => course.inSyncAt !== undefined && !course.cutover);
  const long = open.filter(({ job }) => syncShare(job, startAt) >= 1);
  const told = (
    kind: "never-in-sync" | "never-cut-over" | "window-begun-late" | "sync-too-long",
    some: readonly VmForecast[],
  ): Trouble[] => (some.length === 0 ? [] : [{ kind, vms: namesOf(some) }]);
  const [first] = short;
  return [
    ...told("never-in-sync", never),
    ...told("never-cut-over", uncut),
    ...(first === undefined
      ? []
      : [
          {
            kind: "window-too-short",
            vms: namesOf(short),
            cutoverMs: cutoverMsOf(first),
            windowMs: longestWindowMs(first),
          } as const,
        ]),
    ...told("window-begun-late", begunLate),
    ...told("sync-too-long", long),
  ];
}

function namesOf(vms: readonly VmForecast[]): string[] {
  return vms.map(({ job }) => job.vm.name);
}

function cutoverMsOf({ course }: VmForecast): number {
  const { beginsAt, endsAt } = course.cutover!;
  return endsAt - beginsAt;
}

function longestWindowMs({ job }: VmForecast): number {
  const spans = job.vm.cutoverWindows.map(({ fromMinute, toMinute }) =>
    toMinute > fromMinute ? toMinute - fromMinute : toMinute - fromMinute + 10_080,
  );
  return (maxOf(spans) ?? Number.POSITIVE_INFINITY) * 60_000;
}

function overbooked(
  jobs: readonly Job[],
  { limits }: FleetPlan,
  crew: Crew,
  startAt: number,
): Trouble[] {
  const open = jobs.filter(({ isCutOver }) => !isCutOver);
  const needed = new Map<string, number>();
  let runs = 0;
  for (const job of open) {
    const share = syncShare(job, startAt);
    runs += share;
    if (job.host !== undefined)
      needed.set(job.host, (needed.get(job.host) ?? 0) + share * job.units);
  }
  const hosts = [...needed]
    .filter(([, connections]) => connections > limits.hostConnections)
    .sort((a, b) => b[1] - a[1])
    .map(([host, connections]) => ({ kind: "host-overbooked", host, connections }) as const);
  const isTooMuch = runs > crew.workers * crew.parallelVms;
  return [...hosts, ...(isTooMuch ? [{ kind: "appliances-overbooked", runs } as const] : [])];
}

function maxOf(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => Math.max(a, b));
}
