/** Wall clocks as another reader has them: ICU's own text, minute by minute. */

export const minuteMs = 60_000;

const clocks = new Map<string, Intl.DateTimeFormat>();

/** `2026-03-29 01:59` as the zone's clocks show an instant. */
export function wallText(timeZone: string, at: number): string {
  const clock =
    clocks.get(timeZone) ??
    new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "short" });
  clocks.set(timeZone, clock);
  return clock.format(at);
}

/** The instants of UTC as texts, for comparisons that can be read. */
export function utc(at: number): string {
  return new Date(at).toISOString().replace(".000Z", "Z");
}

/** Where clocks are changed, and when that is. */
export const changes = [
  { zone: "Europe/Rome", forward: "2026-03-29T01:00:00Z", back: "2026-10-25T01:00:00Z" },
  { zone: "America/New_York", forward: "2026-03-08T07:00:00Z", back: "2026-11-01T06:00:00Z" },
  // By half an hour.
  { zone: "Australia/Lord_Howe", forward: "2026-10-03T15:30:00Z", back: "2026-04-04T15:00:00Z" },
] as const;
