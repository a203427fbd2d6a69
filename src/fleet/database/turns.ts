import type { PlannedVm } from "../fleet.ts";
import { dueAfter, firstDue } from "../timing/timing.ts";
import { closes, nextOpening } from "../timing/windows.ts";

/** From when on, and until when its window is open then; without an end it is always open. */
export interface Turn {
  readonly at: Date;
  readonly until?: Date;
}

export type Timing = Pick<PlannedVm, "schedule" | "syncWindows" | "cutoverWindows">;

/** When a VM that was never synced, or shall be at once, is synced. All times are the server's. */
export function firstSync({ schedule, syncWindows }: Timing, now: Date): Turn {
  return turnIn(syncWindows, firstDue(schedule, now.getTime()));
}

/** As soon as a window is open, whatever the schedule says. */
export function syncFrom({ syncWindows }: Timing, from: Date): Turn {
  return turnIn(syncWindows, from.getTime());
}

/** After a sync that began at `startedAt` and went well; undefined: it was to be synced once. */
export function nextSync(
  { schedule, syncWindows }: Timing,
  startedAt: Date,
  now: Date,
): Turn | undefined {
  const due = dueAfter(schedule, startedAt.getTime());
  return due === undefined ? undefined : turnIn(syncWindows, Math.max(due, now.getTime()));
}

export function cutoverFrom({ cutoverWindows }: Timing, from: Date): Turn {
  return turnIn(cutoverWindows, from.getTime());
}

function turnIn(windows: PlannedVm["syncWindows"], from: number): Turn {
  const at = nextOpening(windows, from);
  const until = closes(windows, at);
  return { at: new Date(at), ...(Number.isFinite(until) ? { until: new Date(until) } : {}) };
}
