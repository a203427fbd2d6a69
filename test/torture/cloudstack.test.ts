import assert from "node:assert/strict";
import { test } from "node:test";
import { tortureCloudStack } from "./cloudstack.ts";

test("cutovers to CloudStack and back, killed and at an API that fails, never leave two machines, lose a volume or run both", async (t) => {
  const seed = Number(process.env.MIGRATEKIT_CLOUDSTACK_SEED ?? 20_261_127);
  const report = await tortureCloudStack({ seed, rounds: 3, log: (line) => t.diagnostic(line) });
  assert.equal(report.rounds, 3);
  assert.ok(report.killedAtCall > 0 && report.broughtBack > 0, JSON.stringify(report));
});
