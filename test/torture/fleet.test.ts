import assert from "node:assert/strict";
import { test } from "node:test";
import { tortureFleet } from "./fleet.ts";

test("a fleet whose workers and database are killed, stopped, cut off and set wrong has one writer for each target, and syncs every VM", async (t) => {
  const seed = Number(process.env.MIGRATEKIT_FLEET_SEED ?? 20_261_127);
  // Two fleets beside each other: most of a round is waiting.
  const play = async (own: number) => {
    const log = (line: string) => t.diagnostic(`seed ${own}: ${line}`);
    return await tortureFleet({ seed: own, rounds: 5, machines: 4, log });
  };
  for (const report of await Promise.all([play(seed), play(seed + 1)])) {
    assert.equal(report.rounds, 5);
    assert.ok(report.writes > 0 && report.endings.completed! > 0, JSON.stringify(report));
  }
});
