import assert from "node:assert/strict";
import { test } from "node:test";
import { Zone } from "../../../src/fleet/timing/zone.ts";
import { changes, minuteMs, utc, wallText } from "./walls.ts";

const dayMinutes = 1440;

for (const { zone: name, forward, back } of changes) {
  test(`${name}: every minute around both changes of the clocks is shown as ICU shows it, and found again`, () => {
    const zone = Zone.of(name);
    for (const change of [forward, back]) {
      const first = Date.parse(change) - dayMinutes * minuteMs;
      const found = new Map<string, number[]>();
      for (let minute = 0; minute < 2 * dayMinutes; minute++) {
        const at = first + minute * minuteMs;
        const wall = new Date(zone.wallAt(at)).toISOString().slice(0, 16).replace("T", " ");
        assert.equal(wall, wallText(name, at));
        found.set(wall, [...(found.get(wall) ?? []), at]);
      }
      const leaps = [...found.keys()].length < 2 * dayMinutes;
      assert.equal(leaps, change === back, "one change repeats minutes, the other leaves some out");
      for (const [wall, instants] of found)
        assert.deepEqual(zone.instantsOf(Date.parse(`${wall.replace(" ", "T")}Z`)), instants, wall);
    }
  });

  test(`${name}: the changes themselves are found, one after the other`, () => {
    const zone = Zone.of(name);
    const times = [forward, back].map((text) => Date.parse(text)).sort((a, b) => a - b);
    const until = Date.parse("2026-12-31T00:00:00Z");
    const first = zone.changeAfter(Date.parse("2026-01-01T00:00:00Z"), until)!;
    const second = zone.changeAfter(first, until)!;
    assert.deepEqual([first, second].map(utc), times.map(utc));
    assert.equal(zone.changeAfter(second, until), undefined);
    assert.equal(zone.changeAfter(first - 1, first), first);
    assert.equal(zone.changeAfter(first - 2, first - 1), undefined);
  });
}

test("a wall time that clocks leap over is reached at the end of the leap, be that a day later", () => {
  const wall = (text: string) => Date.parse(`${text}Z`);
  const reached = (zone: string, text: string) => Zone.of(zone).reachedAt(wall(text)).map(utc);
  assert.deepEqual(reached("Europe/Rome", "2026-03-29T02:30"), ["2026-03-29T01:00:00Z"]);
  assert.deepEqual(reached("Australia/Lord_Howe", "2026-10-04T02:15"), ["2026-10-03T15:30:00Z"]);
  // Samoa had no 30 December 2011.
  assert.deepEqual(reached("Pacific/Apia", "2011-12-30T12:00"), ["2011-12-30T10:00:00Z"]);
  // Of a change at the first instant of a day of UTC.
  assert.deepEqual(
    utc(Zone.of("Pacific/Apia").changeAfter(wall("2011-12-29T00:00"), wall("2012-01-10T00:00"))!),
    "2011-12-30T10:00:00Z",
  );
});

test("what is no time zone is refused", () => {
  assert.throws(() => Zone.of("Europe/Roma"), RangeError);
});
