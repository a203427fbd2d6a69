import assert from "node:assert/strict";
import { test } from "node:test";
import { nextDue, parseCron } from "../../../src/fleet/timing/cron.ts";
import { dueAfter, firstDue } from "../../../src/fleet/timing/timing.ts";
import { Zone } from "../../../src/fleet/timing/zone.ts";
import { InvalidValue } from "../../../src/option-types.ts";
import { changes, minuteMs, utc, wallText } from "./walls.ts";

/** The next so many times after an instant. */
function due(line: string, zone: string, after: string, count: number): string[] {
  const cron = parseCron(line);
  const times: number[] = [];
  let at = Date.parse(after);
  for (let left = count; left > 0; left--) {
    at = nextDue({ cron, zone: Zone.of(zone) }, at);
    times.push(at);
  }
  return times.map(utc);
}

test("lists, ranges, steps and names are what cron takes them for", () => {
  const cron = parseCron("*/20 8-18/5 1,15 jan,DEC mon-FRI");
  assert.deepEqual(cron.minutes, [0, 20, 40]);
  assert.deepEqual(cron.hours, [8, 13, 18]);
  assert.deepEqual(parseCron("50/4,3 * * * *").minutes, [3, 50, 54, 58]);
  // Days match by either field where both are given, by both where one is a star.
  const days = (line: string) => {
    const { isDay } = parseCron(line);
    return [isDay(1, 15, 0), isDay(1, 14, 1), isDay(2, 15, 1), isDay(1, 14, 0)];
  };
  assert.deepEqual(days("0 0 15 jan mon"), [true, true, false, false]);
  assert.deepEqual(days("0 0 15 jan *"), [true, false, false, false]);
  assert.deepEqual(days("0 0 * jan mon"), [false, true, false, false]);
  for (const sunday of ["0", "7", "sun", "sun,7"])
    assert.deepEqual(due(`0 0 * * ${sunday}`, "UTC", "2026-11-27T00:00:00Z", 1), [
      "2026-11-29T00:00:00Z",
    ]);
  assert.deepEqual(due("0 0 * * 5-7", "UTC", "2026-11-26T00:00:00Z", 4), [
    ...["2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"],
    "2026-12-04T00:00:00Z",
  ]);
});

test("what is no line of five fields is refused, and the field at fault is named", () => {
  const wrong: [line: string, said: RegExp][] = [
    ["", /takes five fields/],
    ["* * * *", /takes five fields/],
    ["* * * * * *", /takes five fields/],
    ["@daily", /takes five fields/],
    ["60 * * * *", /whose minute has "60"; it takes 0 to 59/],
    ["-1 * * * *", /whose minute has "-1"/],
    ["1- * * * *", /whose minute has "1-"/],
    ["1-2-3 * * * *", /whose minute has "1-2-3"/],
    ["*/0 * * * *", /whose minute has "\*\/0"/],
    ["*/5/5 * * * *", /whose minute/],
    [", * * * *", /whose minute has ""/],
    ["0 24 * * *", /whose hour has "24"/],
    ["0 0 0 * *", /whose day of the month has "0"; it takes 1 to 31/],
    ["0 0 * 13 *", /whose month has "13"; it takes 1 to 12, or jan to dec/],
    ["0 0 * january *", /whose month has "january"/],
    ["0 0 * * 8", /whose day of the week has "8"/],
    ["0 0 * * fri-mon", /whose day of the week has "fri-mon"/],
    ["0x1 0 * * *", /whose minute has "0x1"/],
    ["0 0 31 feb,apr *", /a day that never comes/],
  ];
  for (const [line, said] of wrong) {
    assert.throws(
      () => parseCron(line),
      (error: unknown) => error instanceof InvalidValue && said.test(error.message),
      line,
    );
  }
});

test("29 February is found over eight years without one", () => {
  assert.deepEqual(due("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 2), [
    ...["2104-02-29T00:00:00Z", "2108-02-29T00:00:00Z"],
  ]);
});

test("in spring what clocks leap over is due when they have leapt, once", () => {
  assert.deepEqual(due("30 2 * * *", "Europe/Rome", "2026-03-28T00:00:00Z", 3), [
    ...["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
  ]);
  assert.deepEqual(due("*/20 2,3 * * *", "Europe/Rome", "2026-03-29T00:00:00Z", 4), [
    // 03:00, 03:20, 03:40 in summer time, then 02:00 of the next day.
    ...["2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z", "2026-03-29T01:40:00Z"],
    "2026-03-30T00:00:00Z",
  ]);
  assert.deepEqual(due("30 2 8 3 *", "America/New_York", "2026-03-01T00:00:00Z", 1), [
    "2026-03-08T07:00:00Z",
  ]);
  assert.deepEqual(due("15 2 4 10 *", "Australia/Lord_Howe", "2026-10-01T00:00:00Z", 1), [
    "2026-10-03T15:30:00Z",
  ]);
});

test("in autumn what comes twice is due the first time alone", () => {
  assert.deepEqual(due("30 2 * * *", "Europe/Rome", "2026-10-24T12:00:00Z", 2), [
    ...["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
  ]);
  assert.deepEqual(due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2), [
    ...["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
  ]);
  assert.deepEqual(due("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2), [
    ...["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
  ]);
  // Asked between the two.
  assert.deepEqual(due("30 2 * * *", "Europe/Rome", "2026-10-25T01:10:00Z", 1), [
    "2026-10-26T01:30:00Z",
  ]);
});

for (const { zone, forward, back } of changes) {
  test(`${zone}: around both changes each line is due when a clock that is watched says so`, () => {
    for (const line of [
      "*/7 * * * *",
      "30 2 * * *",
      "15 1-3 * * *",
      "0 0 * * sun",
      "59 23 * * *",
    ]) {
      const cron = parseCron(line);
      for (const change of [forward, back]) {
        const from = Date.parse(change) - 2 * 1440 * minuteMs;
        const until = from + 4 * 1440 * minuteMs;
        const expected = watched(zone, line, from, until);
        const found: number[] = [];
        for (let at = from; ; found.push(at)) {
          at = nextDue({ cron, zone: Zone.of(zone) }, at);
          if (at > until) break;
        }
        assert.deepEqual(found.map(utc), expected.map(utc), `${line} around ${change}`);
      }
    }
  });
}

/** Minute by minute: every wall time once, and at a leap all that lies in it. */
function watched(zone: string, line: string, from: number, until: number): number[] {
  const { minutes, hours, isDay } = parseCron(line);
  const matches = (wall: string) => {
    const date = new Date(`${wall.replace(" ", "T")}Z`);
    return (
      minutes.includes(date.getUTCMinutes()) &&
      hours.includes(date.getUTCHours()) &&
      isDay(date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCDay())
    );
  };
  const due: number[] = [];
  let seen = wallText(zone, from);
  for (let at = from + minuteMs; at <= until; at += minuteMs) {
    const wall = wallText(zone, at);
    let isDue = false;
    // What is not later than what was shown already came before.
    while (seen < wall) {
      const next = new Date(Date.parse(`${seen.replace(" ", "T")}Z`) + minuteMs);
      seen = next.toISOString().slice(0, 16).replace("T", " ");
      isDue ||= matches(seen);
    }
    if (isDue) due.push(at);
  }
  return due;
}

test("a VM is first due at once, by a cron line at its first minute, and then by its schedule", () => {
  const at = Date.parse("2026-11-27T17:00:30Z");
  const cron = { kind: "cron", line: "0 22 * * *", timeZone: "Europe/Rome" } as const;
  assert.equal(firstDue({ kind: "every", everyMs: 900_000 }, at), at);
  assert.equal(firstDue({ kind: "once" }, at), at);
  assert.equal(utc(firstDue(cron, at)), "2026-11-27T21:00:00Z");
  assert.equal(dueAfter({ kind: "every", everyMs: 900_000 }, at), at + 900_000);
  assert.equal(dueAfter({ kind: "once" }, at), undefined);
  assert.equal(utc(dueAfter(cron, Date.parse("2026-11-27T21:00:00Z"))!), "2026-11-28T21:00:00Z");
});
