/** What users expect of turns: what the database does and what the forecast plays are held to the same cases. */
import type { PlannedVm } from "../../src/fleet/fleet.ts";

/** A Tuesday, 12:00 in UTC. */
export const appliedAt = Date.parse("2026-12-01T12:00:00Z");

interface FirstTurn {
  readonly title: string;
  readonly vm: Partial<PlannedVm>;
  /** Of a VM that was never synced, in a plan that is applied then. */
  readonly firstAt: string;
}

const cron = (line: string, timeZone = "UTC") => ({ kind: "cron", line, timeZone }) as const;
const tuesdayEvening = [{ fromMinute: 2580, toMinute: 2700, timeZone: "UTC" }];

export const firstTurns: readonly FirstTurn[] = [
  {
    title: "synced once: at once",
    vm: { schedule: { kind: "once" } },
    firstAt: "2026-12-01T12:00",
  },
  {
    title: "every 15 minutes: at once",
    vm: { schedule: { kind: "every", everyMs: 900_000 } },
    firstAt: "2026-12-01T12:00",
  },
  {
    title: "cron: its next minute",
    vm: { schedule: cron("30 22 * * *") },
    firstAt: "2026-12-01T22:30",
  },
  {
    title: "cron in Rome",
    vm: { schedule: cron("30 22 * * *", "Europe/Rome") },
    firstAt: "2026-12-01T21:30",
  },
  {
    title: "cron, at one of its minutes: the next",
    vm: { schedule: cron("0 12 * * *") },
    firstAt: "2026-12-02T12:00",
  },
  {
    title: "once, in a window",
    vm: { schedule: { kind: "once" }, syncWindows: tuesdayEvening },
    firstAt: "2026-12-01T19:00",
  },
  {
    title: "cron, before its window: when that opens",
    vm: { schedule: cron("0 18 * * *"), syncWindows: tuesdayEvening },
    firstAt: "2026-12-01T19:00",
  },
  {
    title: "cron, after its window: a week later",
    vm: { schedule: cron("0 22 * * *"), syncWindows: tuesdayEvening },
    firstAt: "2026-12-08T19:00",
  },
];

interface Turns {
  readonly title: string;
  /** In the plan's order; `asked`: it is in sync, and its cutover is asked for. */
  readonly vms: readonly {
    readonly name: string;
    readonly wave?: string;
    readonly priority?: number;
    readonly asked?: true;
  }[];
  /** In which they begin, one after the other. */
  readonly order: readonly string[];
}

export const turns: readonly Turns[] = [
  {
    title: "first copies go by the plan's order of waves, whatever these are called",
    vms: [
      { name: "a", wave: "pilot" },
      { name: "b", wave: "10" },
      { name: "c", wave: "pilot" },
      { name: "d", wave: "2" },
    ],
    order: ["a", "c", "b", "d"],
  },
  {
    title: "priority is stronger than the wave",
    vms: [
      { name: "a", wave: "1" },
      { name: "b", wave: "2", priority: 1 },
      { name: "c", wave: "1", priority: -1 },
    ],
    order: ["b", "a", "c"],
  },
  {
    title: "a cutover comes before first copies of its priority, also of earlier waves",
    vms: [
      { name: "a", wave: "1" },
      { name: "b", wave: "2", asked: true },
      { name: "c", wave: "1", priority: 1 },
    ],
    order: ["c", "b", "a"],
  },
];
