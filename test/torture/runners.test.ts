import assert from "node:assert/strict";
import { test } from "node:test";
import { runners } from "./runners.ts";

test("forty sequences of runs from two appliances: no success is wrong", async (t) => {
  const seed = Number(process.env.MIGRATEKIT_RUNNERS_SEED ?? 20_261_126);
  t.diagnostic(`seed ${seed}`);
  const report = await runners({ seed, sequences: 40, log: (line) => t.diagnostic(line) });
  assert.equal(report.sequences, 40);
  assert.ok(report.succeeded >= 20, JSON.stringify(report));
});
