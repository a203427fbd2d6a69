/**
 * Plays a plan through: first syncs and cutovers one by one, as claims would be made; the syncs between them as
 * a load. A wave's cutover is taken to be asked for when all of it is in sync.
 */
import type { FleetAction, FleetLimits, Schedule, WeeklyWindow } from "../fleet.ts";
import { Calendar } from "../timing/calendar.ts";
import { dueAfter, firstDue } from "../timing/timing.ts";
import { Copies, type Copy, nextStepAt } from "./copies.ts";
import { Heap } from "./heap.ts";
import type { Crew, Job } from "./job.ts";
import { Line, precedes, type Wait, type Waited, type Waiting } from "./line.ts";

/** How it went with one VM; instants are ms since 1970 in UTC, spans ms. */
export interface Course {
  /** This and its cutover are absent where that is not within the horizon, or it was cut over already. */
  inSyncAt?: number;
  /** Until its first sync began. */
  readonly waited: Record<Wait | "window" | "schedule", number>;
  /** Of its first copy: as long as it would have taken alone, and what a shared line added. */
  copyMs: number;
  linkMs: number;
  cutover?: CutoverCourse;
}

export interface CutoverCourse {
  readonly beginsAt: number;
  readonly endsAt: number;
  /** Of the window in which it began; Infinity: there is none. */
  readonly closesAt: number;
}

/** What is not reached by then is not reached. */
const horizonMs = 5 * 366 * 86_400_000;

type Event =
  | { readonly kind: "ready"; readonly index: number; readonly action: FleetAction }
  | { readonly kind: "rate"; readonly run: Run }
  | { readonly kind: "end"; readonly run: Run };

interface Run {
  readonly index: number;
  readonly action: FleetAction;
  readonly beganAt: number;
  /** When the window closes in which it began. */
  readonly closesAt: number;
  copy?: Copy;
}

/** In the order of `jobs`. */
export function simulate(
  jobs: readonly Job[],
  limits: FleetLimits,
  crew: Crew,
  startAt: number,
): Course[] {
  return new Simulation(jobs, limits, crew, startAt).play();
}

class Simulation {
  readonly #jobs: readonly Job[];
  readonly #limits: FleetLimits;
  readonly #startAt: number;
  #now: number;
  #freeRuns: number;
  readonly #events = new Heap<Event>();
  readonly #copies: Copies;
  readonly #runs = new Map<Copy, Run>();
  readonly #lines = new Map<string | undefined, Line>();
  /** Runs that read from it, or write to it. */
  readonly #datastoreRuns = new Map<string, number>();
  readonly #targetRuns = new Map<string, number>();
  readonly #calendars = new Map<readonly WeeklyWindow[], Calendar>();
  readonly #courses: Course[];
  /** When what a VM's targets hold was read last, at the latest. */
  readonly #syncedAt: (number | undefined)[];
  readonly #waves = new Map<string, { left: number; readonly members: number[] }>();
  readonly #wavePositions: ReadonlyMap<string, number>;
  readonly #afterLeft: number[];
  readonly #dependents: number[][];

  constructor(jobs: readonly Job[], limits: FleetLimits, crew: Crew, startAt: number) {
    this.#jobs = jobs;
    this.#limits = limits;
    this.#startAt = startAt;
    this.#now = startAt;
    this.#freeRuns = crew.workers * crew.parallelVms;
    this.#copies = new Copies(crew.linkBytesPerSecond);
    this.#syncedAt = jobs.map(({ syncedAt }) => syncedAt);
    this.#courses = jobs.map(() => ({
      waited: { host: 0, datastore: 0, target: 0, appliance: 0, link: 0, window: 0, schedule: 0 },
      copyMs: 0,
      linkMs: 0,
    }));
    const waves = new Set(jobs.map(({ vm }) => vm.wave));
    this.#wavePositions = new Map([...waves].map((wave, at) => [wave, at]));
    const byName = new Map(jobs.map(({ vm }, index) => [vm.name, index]));
    this.#dependents = jobs.map(() => []);
    this.#afterLeft = jobs.map(({ vm }, index) => {
      const open = vm.after.map((name) => byName.get(name)!).filter((at) => !jobs[at]!.isCutOver);
      for (const at of open) this.#dependents[at]!.push(index);
      return open.length;
    });
  }

  play(): Course[] {
    this.#begin();
    this.#allHappens();
    const end = this.#startAt + horizonMs;
    for (;;) {
      this.#dispatch();
      const [copied, happens] = [this.#copies.nextEnd(this.#now), this.#events.firstAt];
      const next = Math.min(copied, happens);
      if (next > end) return this.#courses;
      this.#copies.advance(next - this.#now);
      this.#now = next;
      if (copied < happens) this.#copied();
      else this.#allHappens();
    }
  }

  /** Whatever does by now, before anything begins. */
  #allHappens(): void {
    while (this.#events.firstAt <= this.#now) this.#happens(this.#events.pop()!);
  }

  #begin(): void {
    for (const [index, { vm, isCutOver, syncedAt }] of this.#jobs.entries()) {
      if (isCutOver) continue;
      const wave = this.#waves.get(vm.wave) ?? { left: 0, members: [] };
      this.#waves.set(vm.wave, wave);
      wave.members.push(index);
      if (syncedAt === undefined) {
        wave.left++;
        const dueAt = firstDue(vm.schedule, this.#startAt);
        this.#courses[index]!.waited.schedule = dueAt - this.#startAt;
        this.#events.push(dueAt, { kind: "ready", index, action: "migrate" });
      } else {
        this.#inSync(index);
      }
    }
    for (const { left, members } of this.#waves.values()) if (left === 0) this.#askFor(members);
  }

  #happens(event: Event): void {
    if (event.kind === "ready") this.#ready(event.index, event.action);
    else if (event.kind === "end") this.#ended(event.run);
    else if (event.run.copy) this.#changeRate(event.run);
  }

  /** It is due: into the line, or to sleep until its window opens. */
  #ready(index: number, action: FleetAction): void {
    const { vm, host } = this.#jobs[index]!;
    const calendar = this.#calendar(action === "migrate" ? vm.syncWindows : vm.cutoverWindows);
    if (!calendar.isOpen(this.#now)) {
      const opensAt = calendar.nextOpening(this.#now);
      if (action === "migrate") this.#courses[index]!.waited.window += opensAt - this.#now;
      this.#events.push(opensAt, { kind: "ready", index, action });
      return;
    }
    const closesAt = calendar.closes(this.#now);
    this.#line(host).enter(
      {
        ...{ index, action, closesAt, priority: vm.priority, dueAt: this.#now },
        wavePosition: this.#wavePositions.get(vm.wave)!,
      },
      this.#now,
    );
  }

  /** Begins whatever can begin, the most urgent first. */
  #dispatch(): void {
    for (;;) {
      let best: { line: Line; place: number; waiting: Waiting } | undefined;
      for (const line of this.#lines.values()) {
        const place = this.#candidateOf(line);
        const waiting = place === undefined ? undefined : line.waiting[place];
        if (waiting && (best === undefined || precedes(waiting, best.waiting))) {
          best = { line, place: place!, waiting };
        }
      }
      if (best === undefined) return;
      const waited = best.line.leave(best.place, this.#now);
      this.#begun(best.waiting, waited, best.line);
    }
  }

  /** The first of a line who can begin: places that are full let others by, the host's connections nobody. */
  #candidateOf(line: Line): number | undefined {
    let reason: Wait | undefined;
    let place = 0;
    while (place < line.waiting.length) {
      const waiting = line.waiting[place]!;
      const { index, action, closesAt } = waiting;
      if (closesAt <= this.#now) {
        this.#note(index, action, line.leave(place, this.#now));
        this.#ready(index, action);
        continue;
      }
      const job = this.#jobs[index]!;
      const full = this.#fullPlace(job);
      const fits = line.fits(job.units, waiting);
      if (full === undefined && fits && this.#freeRuns > 0) {
        line.waitsFor(reason, this.#now);
        return place;
      }
      reason ??= this.#copies.isSlowed ? "link" : (full ?? (fits ? "appliance" : "host"));
      if (full === undefined || this.#freeRuns === 0) break;
      place++;
    }
    line.waitsFor(reason, this.#now);
    return undefined;
  }

  #fullPlace({ datastores, targetServers }: Job): Wait | undefined {
    const { datastoreRuns, targetRuns } = this.#limits;
    const isFull = (places: readonly string[], used: ReadonlyMap<string, number>, limit: number) =>
      limit > 0 && places.some((place) => (used.get(place) ?? 0) >= limit);
    if (isFull(datastores, this.#datastoreRuns, datastoreRuns)) return "datastore";
    return isFull(targetServers, this.#targetRuns, targetRuns) ? "target" : undefined;
  }

  #begun({ index, action, closesAt }: Waiting, waited: Waited, line: Line): void {
    const job = this.#jobs[index]!;
    this.#note(index, action, waited);
    this.#count(job, line, 1);
    const run: Run = { index, action, beganAt: this.#now, closesAt };
    let bytes = job.fullBytes;
    if (action === "cutover") {
      const changedMs = this.#now - this.#lastSync(index, line);
      bytes = Math.min(bytes, changedMs * job.changedBytesPerMs);
    }
    run.copy = this.#copies.begin(job, bytes, this.#now);
    this.#runs.set(run.copy, run);
    this.#nextRate(run, job);
  }

  #nextRate(run: Run, { rates }: Job): void {
    const at = nextStepAt(rates, this.#now);
    if (at !== undefined) this.#events.push(at, { kind: "rate", run });
  }

  #changeRate(run: Run): void {
    this.#copies.changeRate(run.copy!, this.#now);
    this.#nextRate(run, this.#jobs[run.index]!);
  }

  #copied(): void {
    const copy = this.#copies.end();
    if (copy === undefined) return;
    const run = this.#runs.get(copy)!;
    this.#runs.delete(copy);
    delete run.copy;
    const { syncMs, downtimeMs, fullBytes, bytesPerSecond, rates } = this.#jobs[run.index]!;
    if (run.action === "migrate") {
      const course = this.#courses[run.index]!;
      const tookMs = this.#now - run.beganAt;
      const aloneMs = rates === undefined ? (fullBytes / bytesPerSecond) * 1000 : tookMs;
      course.copyMs = Math.min(tookMs, aloneMs);
      course.linkMs = tookMs - course.copyMs;
    }
    const restMs = run.action === "migrate" ? syncMs : syncMs + downtimeMs;
    this.#events.push(this.#now + restMs, { kind: "end", run });
  }

  #ended({ index, action, beganAt, closesAt }: Run): void {
    const job = this.#jobs[index]!;
    this.#count(job, this.#line(job.host), -1);
    if (action === "migrate") {
      this.#syncedAt[index] = beganAt;
      this.#inSync(index);
      const wave = this.#waves.get(job.vm.wave)!;
      if (--wave.left === 0) this.#askFor(wave.members);
      return;
    }
    this.#courses[index]!.cutover = { beginsAt: beganAt, endsAt: this.#now, closesAt };
    for (const dependent of this.#dependents[index]!) {
      this.#afterLeft[dependent]!--;
      if (this.#waves.get(this.#jobs[dependent]!.vm.wave)!.left === 0) this.#askFor([dependent]);
    }
  }

  #inSync(index: number): void {
    const job = this.#jobs[index]!;
    this.#courses[index]!.inSyncAt = this.#now;
    this.#line(job.host).addSyncLoad(job.vm.priority, job.units * syncShare(job, this.#now));
  }

  /** Cutovers of those whose `after` are cut over; the others are asked for by the last of these. */
  #askFor(members: readonly number[]): void {
    for (const index of members) {
      if (this.#afterLeft[index] === 0) this.#ready(index, "cutover");
    }
  }

  /** When the sync before its cutover began: by its schedule and windows, if nobody is preferred to it. */
  #lastSync(index: number, line: Line): number {
    const { vm } = this.#jobs[index]!;
    const first = this.#syncedAt[index]!;
    const head = line.waiting[0];
    const isHeldUp = head !== undefined && head.priority > vm.priority;
    const free = isHeldUp ? line.backlogSince! : this.#now;
    const open = this.#calendar(vm.syncWindows).lastOpen(free);
    return Math.max(first, open - periodOf(vm.schedule, this.#now));
  }

  #note(index: number, action: FleetAction, waited: Waited): void {
    if (action === "cutover") return;
    const course = this.#courses[index]!;
    for (const wait of Object.keys(waited) as Wait[]) course.waited[wait] += waited[wait];
  }

  #count({ units, datastores, targetServers }: Job, line: Line, sign: 1 | -1): void {
    this.#freeRuns -= sign;
    line.used += sign * units;
    for (const [places, used] of [
      [datastores, this.#datastoreRuns],
      [targetServers, this.#targetRuns],
    ] as const) {
      for (const place of places) used.set(place, (used.get(place) ?? 0) + sign);
    }
  }

  #line(host: string | undefined): Line {
    const capacity = host === undefined ? Number.POSITIVE_INFINITY : this.#limits.hostConnections;
    const line = this.#lines.get(host) ?? new Line(capacity);
    this.#lines.set(host, line);
    return line;
  }

  #calendar(windows: readonly WeeklyWindow[]): Calendar {
    const calendar = this.#calendars.get(windows) ?? new Calendar(windows, this.#startAt);
    this.#calendars.set(windows, calendar);
    return calendar;
  }
}

/** From one sync to the next; Infinity: there is no next. */
export function periodOf(schedule: Schedule, at: number): number {
  const first = dueAfter(schedule, at);
  const second = first === undefined ? undefined : dueAfter(schedule, first);
  return second === undefined ? Number.POSITIVE_INFINITY : second - first!;
}

/** How much of its time a VM that is in sync is being synced: 0 to 1. */
export function syncShare(
  { vm, syncMs, changedBytesPerMs, bytesPerSecond }: Job,
  at: number,
): number {
  const periodMs = periodOf(vm.schedule, at);
  if (periodMs === Number.POSITIVE_INFINITY) return 0;
  const copyMs = (periodMs * changedBytesPerMs * 1000) / bytesPerSecond;
  return Math.min(1, (syncMs + copyMs) / periodMs);
}
