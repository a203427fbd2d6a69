import assert from "node:assert/strict";
import { test } from "node:test";
import type { WeeklyWindow } from "../../../src/fleet/fleet.ts";
import { closes, isOpen, nextOpening, parseWindows } from "../../../src/fleet/timing/windows.ts";
import { InvalidValue } from "../../../src/option-types.ts";
import { changes, minuteMs, utc, wallText } from "./walls.ts";

const dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/** `Mon 19:00-Tue 06:00` */
function shown({ fromMinute, toMinute }: WeeklyWindow): string {
  const moment = (minute: number) => {
    const [hour, rest] = [Math.floor((minute % 1440) / 60), minute % 60];
    const pad = (value: number) => String(value).padStart(2, "0");
    return `${dayNames[Math.floor(minute / 1440) % 7]} ${pad(hour)}:${pad(rest)}`;
  };
  return `${moment(fromMinute)}-${moment(toMinute)}`;
}

const parsed = (...texts: string[]) => parseWindows(texts, "UTC").map(shown);

test("windows are of days, of times of them, across days, and each day's", () => {
  assert.deepEqual(parsed("Mon-Fri 19:00-06:00"), [
    ...["Mon 19:00-Tue 06:00", "Tue 19:00-Wed 06:00", "Wed 19:00-Thu 06:00"],
    ...["Thu 19:00-Fri 06:00", "Fri 19:00-Sat 06:00"],
  ]);
  assert.deepEqual(parsed("Sat,Sun"), ["Sat 00:00-Mon 00:00"]);
  assert.deepEqual(parsed("Sun 02:00-Mon 05:00"), ["Sun 02:00-Mon 05:00"]);
  assert.deepEqual(parsed("Sat,Sun 10:00-12:30"), ["Sat 10:00-Sat 12:30", "Sun 10:00-Sun 12:30"]);
  assert.deepEqual(parsed("Sat", "Sun 10:00-12:00"), [
    "Sat 00:00-Sun 00:00",
    "Sun 10:00-Sun 12:00",
  ]);
  assert.deepEqual(parsed("friday - mon 1:00-2:00"), [
    ...["Mon 01:00-Mon 02:00", "Fri 01:00-Fri 02:00", "Sat 01:00-Sat 02:00", "Sun 01:00-Sun 02:00"],
  ]);
  assert.equal(parsed("22:00-05:00").length, 7);
  assert.deepEqual(parsed("Sat 22:00-24:00"), ["Sat 22:00-Sun 00:00"]);
  assert.deepEqual(parsed("Wed 24:00-01:00"), ["Thu 00:00-Thu 01:00"]);
});

test("windows that touch are one, over the week's end as well", () => {
  assert.deepEqual(
    parsed("Mon-Fri 19:00-06:00, Sat,Sun; Mon 00:00-05:00").at(-1),
    "Fri 19:00-Mon 05:00",
  );
  assert.deepEqual(parsed("Sun 24:00-01:00", "Sun 23:00-24:00"), ["Sun 23:00-Mon 01:00"]);
  for (const all of ["Mon-Sun", "00:00-24:00", "06:00-06:00", "Wed 03:00-Wed 03:00"])
    assert.deepEqual(
      parseWindows([all], "UTC"),
      [{ fromMinute: 0, toMinute: 10_080, timeZone: "UTC" }],
      all,
    );
});

test("what is no window is refused with what one looks like", () => {
  const wrong = ["", "Mo", "Mon-", "Mon 19:00", "Mon 19:00-", "25:00-26:00", "Mon 19:60-20:00"];
  for (const text of [...wrong, "Mon,Sun 02:00-Mon 05:00", "Mon..Fri", "sunny", "19-06", "Mon,"]) {
    assert.throws(
      () => parseWindows([text], "UTC"),
      (error: unknown) =>
        error instanceof InvalidValue && /Mon-Fri 19:00-06:00/.test(error.message),
      text,
    );
  }
  assert.throws(() => parseWindows([], "UTC"), /has no window/);
});

test("no window stands for always", () => {
  assert.ok(isOpen([], 5));
  assert.equal(nextOpening([], 5), 5);
  assert.equal(closes([], 5), Number.POSITIVE_INFINITY);
  assert.equal(closes(parseWindows(["Mon-Sun"], "Europe/Rome"), 5), Number.POSITIVE_INFINITY);
});

test("a window opens and closes by the clocks of its zone", () => {
  const windows = parseWindows(["Mon-Fri 19:00-06:00"], "Europe/Rome");
  const friday = Date.parse("2026-11-27T17:59:59Z");
  assert.ok(!isOpen(windows, friday));
  assert.equal(utc(nextOpening(windows, friday)), "2026-11-27T18:00:00Z");
  assert.ok(isOpen(windows, friday + 1000));
  assert.equal(utc(closes(windows, friday + 1000)), "2026-11-28T05:00:00Z");
  assert.equal(
    utc(nextOpening(windows, Date.parse("2026-11-28T05:00:00Z"))),
    "2026-11-30T18:00:00Z",
  );
  // Over the week's end.
  const weekend = parseWindows(["Sun 02:00-Mon 05:00"], "America/New_York");
  assert.equal(utc(nextOpening(weekend, friday)), "2026-11-29T07:00:00Z");
  assert.equal(utc(closes(weekend, Date.parse("2026-11-30T01:00:00Z"))), "2026-11-30T10:00:00Z");
});

test("windows of several zones are open when one of them is", () => {
  const windows = [
    ...parseWindows(["Tue 10:00-11:00"], "Europe/Rome"),
    ...parseWindows(["Tue 10:00-11:00"], "UTC"),
  ];
  const opens = nextOpening(windows, Date.parse("2026-11-30T12:00:00Z"));
  assert.deepEqual(
    [utc(opens), utc(closes(windows, opens))],
    ["2026-12-01T09:00:00Z", "2026-12-01T11:00:00Z"],
  );
});

test("where clocks are changed a window may be shorter, longer, left out, or open twice", () => {
  const spans = (text: string, zone: string, from: string, count: number) => {
    const windows = parseWindows([text], zone);
    let at = Date.parse(from);
    return Array.from({ length: count }, () => {
      const opens = nextOpening(windows, at);
      at = closes(windows, opens);
      return `${utc(opens)} ${(at - opens) / minuteMs}`;
    });
  };
  const spring = "2026-03-28T12:00:00Z";
  assert.deepEqual(spans("Sun 01:00-04:00", "Europe/Rome", spring, 2), [
    ...["2026-03-29T00:00:00Z 120", "2026-04-04T23:00:00Z 180"],
  ]);
  assert.deepEqual(spans("Sun 02:00-03:00", "Europe/Rome", spring, 1), ["2026-04-05T00:00:00Z 60"]);
  const autumn = "2026-10-24T12:00:00Z";
  assert.deepEqual(spans("Sun 01:00-04:00", "Europe/Rome", autumn, 1), [
    "2026-10-24T23:00:00Z 240",
  ]);
  assert.deepEqual(spans("Sun 02:15-02:45", "Europe/Rome", autumn, 2), [
    ...["2026-10-25T00:15:00Z 30", "2026-10-25T01:15:00Z 30"],
  ]);
  // The clocks are put back while it is open, to before it.
  assert.deepEqual(spans("Sun 02:30-05:00", "Europe/Rome", autumn, 2), [
    ...["2026-10-25T00:30:00Z 30", "2026-10-25T01:30:00Z 150"],
  ]);
});

for (const { zone, forward, back } of changes) {
  test(`${zone}: around both changes windows are open when a clock that is watched says so`, () => {
    for (const text of [
      "Sat 23:10-Sun 02:20",
      "01:40-02:10",
      "Sun 03:00-Mon 00:30",
      "Fri-Sun 02:00-03:00",
    ]) {
      const windows = parseWindows([text], zone);
      for (const change of [forward, back]) {
        const from = Date.parse(change) - 2 * 1440 * minuteMs;
        let [seen, expected] = [isOpen(windows, from), from];
        for (let at = from; at < from + 4 * 1440 * minuteMs; at += minuteMs) {
          const open = windows.some((window) => holds(window, wallText(zone, at)));
          assert.equal(isOpen(windows, at), open, `${text} at ${utc(at)}`);
          if (open === seen) continue;
          const told = seen ? closes(windows, expected) : nextOpening(windows, expected);
          assert.equal(utc(told), utc(at), `${text}: ${seen ? "closes" : "opens"}`);
          [seen, expected] = [open, at];
        }
      }
    }
  });
}

function holds({ fromMinute, toMinute }: WeeklyWindow, wall: string): boolean {
  const date = new Date(`${wall.replace(" ", "T")}Z`);
  const minute =
    ((date.getUTCDay() + 6) % 7) * 1440 + date.getUTCHours() * 60 + date.getUTCMinutes();
  return fromMinute < toMinute
    ? minute >= fromMinute && minute < toMinute
    : minute >= fromMinute || minute < toMinute;
}
