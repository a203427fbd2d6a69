// A guest's whole way to CloudStack and back: what its new machine says on its console is the judge.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { DeployLab } from "../e2e/deploy-lab.ts";
import { startCli } from "../lab/run-cli.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { until } from "../until.ts";
import { type GuestRecipe, saysPrefix } from "./debian/recipe.ts";
import { checkWords } from "./guest-words.ts";

const parentDir = "/var/tmp";
const bootTimeoutMs = 400_000;

export interface Journey {
  readonly recipe: GuestRecipe;
  readonly spec: VmSpec;
  /** Of `cutover`. */
  readonly flags: readonly string[];
  /** As it is on virtio. */
  readonly root: RegExp;
  /** The guest writes, after the first and before the last sync; gives the word that it has then. */
  write?(site: DeployLab): Promise<string>;
  /** Before the cutover. */
  rehearse?(site: DeployLab): Promise<void>;
}

export async function goToCloudStack(t: TestContext, journey: Journey): Promise<void> {
  const { recipe, spec, flags, root } = journey;
  await using site = await DeployLab.start({ spec, boots: true, parentDir });
  const { vm, cloud } = site;
  const sync = async (type: "full" | "incremental") => {
    const { code, stdout, stderr } = await site.migrate();
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).sync_type, type);
    await site.assertSynced();
  };
  let marker = "one";
  await t.test("it is migrated, and what it writes follows", async () => {
    await sync("full");
    marker = (await journey.write?.(site)) ?? marker;
    await sync("incremental");
  });
  if (journey.rehearse) await t.test("it is rehearsed", () => journey.rehearse!(site));
  let id = "";
  await t.test("one command makes it a machine of CloudStack, which comes up whole", async () => {
    marker = (await journey.write?.(site)) ?? marker;
    const order = ["--yes", "--json", "--convert", "--deploy", "--cloudstack-template", "seed"];
    const { code, stdout, stderr } = await startCli({
      args: ["cutover", ...site.args(...order, ...flags)],
      env: { ...site.env, TMPDIR: parentDir },
    }).result;
    assert.equal(code, 0, stderr);
    const { instance, downtime_ms, conversion } = JSON.parse(stdout);
    id = instance.id;
    assert.equal(cloud.instances().length, 1);
    assert.ok(downtime_ms > conversion.duration_ms);
    const console = () => cloud.domain(id)?.console() ?? "";
    const ready = new RegExp(`${saysPrefix} ready`);
    await until("the guest is up", () => ready.test(console()), bootTimeoutMs);
    checkWords(console(), recipe, marker, root);
    assert.equal(vm.record.powerState, "poweredOff");
    assert.deepEqual(cloud.violations, []);
  });
  await t.test(
    "it goes back, the source is as it was, and the next sync is incremental",
    async () => {
      const back = await site.rollback({ connected: true, extra: ["--power-on-source"] });
      assert.equal(back.code, 0, back.stderr);
      const { repaired_bytes, next_sync } = JSON.parse(back.stdout);
      assert.ok(repaired_bytes > 0, "a guest that ran has written");
      assert.equal(next_sync, "incremental");
      site.assertBack();
      await site.assertSynced();
      assert.equal(vm.record.powerState, "poweredOn");
      await journey.write?.(site);
      await sync("incremental");
    },
  );
}
