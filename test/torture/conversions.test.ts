import assert from "node:assert/strict";
import { test } from "node:test";
import { tortureConversions } from "./conversions.ts";

test("conversions killed at random on their way to the targets and back leave all disks old or new, and nothing behind", async (t) => {
  const seed = Number(process.env.MIGRATEKIT_CONVERSIONS_SEED ?? 20_261_126);
  const report = await tortureConversions({ seed, rounds: 8, log: (line) => t.diagnostic(line) });
  assert.equal(report.rounds, 8);
  assert.ok(report.killedWriting > 0 && report.applied > 0, JSON.stringify(report));
});
