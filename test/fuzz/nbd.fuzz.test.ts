import assert from "node:assert/strict";
import { test } from "node:test";
import { runCampaign } from "./campaign.ts";
import { runNbd, scriptedRuns } from "./nbd.ts";

const count = Number(process.env.MIGRATEKIT_FUZZ_ROUNDS ?? scriptedRuns() + 100);
const seed = Number(process.env.MIGRATEKIT_FUZZ_SEED ?? 1);

test(`${count} runs of the engine against misbehaving NBD servers end in time, rightly or with a typed error`, async () => {
  // Too few for the script: those at random are the more varied ones.
  const from = count < scriptedRuns() ? scriptedRuns() : 0;
  const tally = await runCampaign({ name: "nbd", count, seed, from, run: runNbd });
  assert.ok(tally.value > count / 20 && tally.error > count / 20, JSON.stringify(tally));
});
