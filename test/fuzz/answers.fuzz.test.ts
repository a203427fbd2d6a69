import assert from "node:assert/strict";
import { test } from "node:test";
import { startApiFuzz } from "./apis.ts";
import { runCampaign, type Tally } from "./campaign.ts";
import { startInputFuzz } from "./inputs.ts";
import { startVsphereFuzz } from "./vsphere.ts";

const seed = Number(process.env.MIGRATEKIT_FUZZ_SEED ?? 1);

function assertMixed(tally: Tally, count: number): void {
  assert.ok(tally.value > count / 50 && tally.error > count / 50, JSON.stringify(tally));
}

test("600 vSphere calls with mutated answers end in time with a sound value or a typed error", async () => {
  await using fuzz = await startVsphereFuzz();
  const count = 600;
  assertMixed(await runCampaign({ name: "vsphere", count, seed, lanes: 24, run: fuzz.run }), count);
});

for (const api of ["vma", "oma"] as const) {
  test(`500 uses of the ${api.toUpperCase()} API with mutated answers end in time, rightly or with a typed error`, async () => {
    await using fuzz = await startApiFuzz(api);
    const count = 500;
    assertMixed(await runCampaign({ name: api, count, seed, lanes: 12, run: fuzz.run }), count);
  });
}

test("5000 mutated arguments, settings, URIs and lines are taken or refused by a typed error that shows no secret", async () => {
  using fuzz = startInputFuzz();
  const count = 5000;
  assertMixed(await runCampaign({ name: "inputs", count, seed, lanes: 1, run: fuzz.run }), count);
});
