/** How fast may be copied at which time of the day. */
export interface RateStep {
  /** Of the day, in local time: 480 is 08:00. */
  readonly minute: number;
  /** 0: no limit. */
  readonly bytesPerSecond: number;
}

/** In the order of the day, at least one; the last one holds over midnight. */
export type RatePlan = readonly RateStep[];

/** The limit at a minute of the day, in bytes per second; 0: none. */
export function rateAt(plan: RatePlan, minute: number): number {
  const begun = plan.findLast((step) => step.minute <= minute) ?? plan.at(-1);
  return begun?.bytesPerSecond ?? 0;
}

/** Of the day, in local time, whatever a change of the clocks made of it. */
export function minuteOfDay(time: Date): number {
  return time.getHours() * 60 + time.getMinutes();
}
