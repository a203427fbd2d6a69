// Whose turn it is in the forecast, by the cases that the database is held to, too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { appliedAt, firstTurns, turns } from "../turns.ts";
import { crewOf, forecastOf, minuteMs, startAt } from "./plans.ts";

for (const { title, vm, firstAt } of firstTurns) {
  test(`first due: ${title}`, () => {
    assert.equal(startAt, appliedAt);
    const { waited } = forecastOf({ a: { vm } }).of("a").course;
    const at = new Date(startAt + waited.schedule + waited.window);
    assert.equal(at.toISOString(), `${firstAt}:00.000Z`);
  });
}

for (const { title, vms, order } of turns) {
  test(title, () => {
    const { vms: found } = forecastOf(
      Object.fromEntries(
        vms.map(({ name, wave = "1", priority = 0, asked }) => [
          name,
          { vm: { wave, priority }, ...(asked && { known: { syncedAt: 1 } }) },
        ]),
      ),
      crewOf(1),
    );
    const ends = found.map(({ job, course }) => {
      const asked = vms.some((each) => each.name === job.vm.name && each.asked);
      return { name: job.vm.name, at: (asked ? course.cutover!.endsAt : course.inSyncAt)! };
    });
    assert.deepEqual(
      ends.sort((a, b) => a.at - b.at).map(({ name }) => name),
      order,
    );
  });
}

test("VMs in sync keep their schedule before first copies of their priority, which still begin one by one", () => {
  const every = { kind: "every", everyMs: 2 * minuteMs } as const;
  const vms = Object.fromEntries(
    Array.from({ length: 12 }, (_, at) => [
      `vm${at}`,
      at < 8
        ? { vm: { schedule: every }, known: { host: "h", syncedAt: 1 } }
        : { vm: { wave: "2" }, known: { host: "h" } },
    ]),
  );
  // Eight of them take four connections at all times: all there are.
  const { of } = forecastOf(vms, crewOf(100), { hostConnections: 4 });
  const ends = [8, 9, 10, 11].map((at) => of(`vm${at}`).course.inSyncAt!);
  assert.deepEqual(
    ends.map((end) => Math.round((end - ends[0]!) / minuteMs)),
    [0, 61, 122, 183],
  );
});
