import assert from "node:assert/strict";
import { test } from "node:test";
import { torture } from "./torture.ts";

test("two dozen rounds of random deaths: no completed cycle is wrong, nothing is left behind", async (t) => {
  const seed = Number(process.env.MIGRATEKIT_TORTURE_SEED ?? 20_261_123);
  const report = await torture({ seed, rounds: 24, log: (line) => t.diagnostic(line) });
  assert.equal(report.rounds, 24);
  assert.ok(report.completed >= 8, JSON.stringify(report));
});
