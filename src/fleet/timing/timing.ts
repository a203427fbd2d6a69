/** When a VM's next sync is due. Pure; instants are ms since 1970 in UTC. */
import type { Schedule } from "../fleet.ts";
import { type CronLine, nextDue, parseCron } from "./cron.ts";
import { Zone } from "./zone.ts";

/** The same lines stand in thousands of entries. */
const lines = new Map<string, CronLine>();

/** Of a VM that was never synced, in a plan that is applied at `appliedAt`. */
export function firstDue(schedule: Schedule, appliedAt: number): number {
  return schedule.kind === "cron" ? cronDue(schedule, appliedAt) : appliedAt;
}

/**
 * After a sync that was begun at `startedAt` and has ended; undefined: no other one is due. What was missed
 * meanwhile is made up for by one sync.
 */
export function dueAfter(schedule: Schedule, startedAt: number): number | undefined {
  if (schedule.kind === "once") return undefined;
  return schedule.kind === "every" ? startedAt + schedule.everyMs : cronDue(schedule, startedAt);
}

function cronDue({ line, timeZone }: Schedule & { kind: "cron" }, after: number): number {
  const cron = lines.get(line) ?? parseCron(line);
  lines.set(line, cron);
  return nextDue({ cron, zone: Zone.of(timeZone) }, after);
}
