import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidValue, ratePlan } from "../src/option-types.ts";
import { minuteOfDay, rateAt } from "../src/rate-plan.ts";

const M = 1 << 20;
const minutes = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));

test("a rate alone holds all day; off is none", () => {
  assert.equal(rateAt(ratePlan("50M"), 0), 50 * M);
  assert.equal(rateAt(ratePlan("1.5G"), minutes("23:59")), 1.5 * 1024 * M);
  assert.equal(rateAt(ratePlan("off"), minutes("12:00")), 0);
});

test("each time of a timetable begins a rate, the last of the day holds over midnight", () => {
  const forms = [
    "08:00,50M 19:00,off",
    "19:00,off 8:00,50M",
    "08:00,50M,19:00,off",
    " 08:00 50M, 19:00 off",
  ];
  for (const form of forms) {
    const plan = ratePlan(form);
    const rates = ["00:00", "07:59", "08:00", "18:59", "19:00", "23:59"].map((time) =>
      rateAt(plan, minutes(time)),
    );
    assert.deepEqual(rates, [0, 0, 50 * M, 50 * M, 0, 0], form);
  }
  const night = ratePlan("22:30,1G 06:00,10M");
  assert.equal(rateAt(night, minutes("02:00")), 1024 * M);
});

test("the time of the day is the local one", () => {
  assert.equal(minuteOfDay(new Date(2026, 0, 31, 19, 5, 59)), minutes("19:05"));
});

test("what is wrong in a timetable is named", () => {
  for (const [text, message] of [
    ["fast", /is "fast".*such as 200M.*08:00,50M 19:00,off/],
    ["1K", /at least 4K/],
    ["24:00,50M", /has "24:00".*00:00 to 23:59/],
    ["08:60,50M", /has "08:60"/],
    ["08:00,50M 19:00", /has no rate for 19:00/],
    ["08:00,50M 19:00,quick", /has "quick" for 19:00.*or off/],
    ["08:00,50M 8:00,off", /has 8:00 twice/],
    ["50M 08:00,off", /has "50M".*time of the day/],
    ["", /is ""/],
  ] as const) {
    assert.throws(
      () => ratePlan(text),
      (error) => error instanceof InvalidValue && message.test(error.message),
      text,
    );
  }
});
