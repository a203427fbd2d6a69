import assert from "node:assert/strict";
import { test } from "node:test";
import { Calendar } from "../../../src/fleet/timing/calendar.ts";
import { closes, isOpen, nextOpening, parseWindows } from "../../../src/fleet/timing/windows.ts";
import { Random } from "../../random.ts";
import { minuteMs, utc } from "./walls.ts";

const from = Date.parse("2026-10-19T00:00:00Z");

test("a calendar says what the windows say, in whatever order it is asked", () => {
  const seed = Number(process.env.MIGRATEKIT_TEST_SEED ?? 3);
  const random = new Random(seed);
  for (const text of ["Mon-Fri 19:00-06:00", "Sun 02:15-02:45", "Sat,Sun", "Mon-Sun"]) {
    const windows = parseWindows([text], "Europe/Rome");
    const calendar = new Calendar(windows, from);
    for (let tries = 0; tries < 200; tries++) {
      const at = from + random.below(40 * 1440) * minuteMs;
      const title = `seed ${seed}: ${text} at ${utc(at)}`;
      assert.equal(calendar.isOpen(at), isOpen(windows, at), title);
      const opens = nextOpening(windows, at);
      assert.equal(calendar.nextOpening(at), opens, title);
      assert.equal(calendar.closes(at), closes(windows, opens), title);
    }
  }
});

test("the last time that they were open is now, the end of the span before, or not known", () => {
  const calendar = new Calendar(parseWindows(["Mon 10:00-11:00"], "UTC"), from);
  const at = (text: string) => calendar.lastOpen(Date.parse(`${text}:00Z`));
  assert.equal(at("2026-10-19T09:59"), Number.NEGATIVE_INFINITY);
  assert.equal(utc(at("2026-10-19T10:30")), "2026-10-19T10:30:00Z");
  assert.equal(utc(at("2026-10-25T10:30")), "2026-10-19T11:00:00Z");
  assert.equal(utc(at("2026-10-27T00:00")), "2026-10-26T11:00:00Z");
});

test("without windows it is always open", () => {
  const calendar = new Calendar([], from);
  assert.ok(calendar.isOpen(from));
  assert.equal(calendar.closes(from), Number.POSITIVE_INFINITY);
  assert.equal(calendar.lastOpen(from + 1), from + 1);
});
