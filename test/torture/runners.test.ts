import assert from "node:assert/strict";
import { test } from "node:test";
import { runners } from "./runners.ts";

test("forty sequences of runs from two appliances: no success is wrong", async (t) => {
  const seed = Number(process.env.MIGRATEKIT_RUNNERS_SEED ?? 20_261_126);
  // Two laboratories beside each other: most of a sequence is waiting.
  const play = async (own: number) => {
    t.diagnostic(`seed ${own}`);
    const log = (line: string) => t.diagnostic(`seed ${own}: ${line}`);
    return await runners({ seed: own, sequences: 20, log });
  };
  const reports = await Promise.all([play(seed), play(seed + 1)]);
  for (const report of reports) {
    assert.equal(report.sequences, 20);
    assert.ok(report.succeeded >= 10, JSON.stringify(report));
  }
});
