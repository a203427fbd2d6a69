// A cutover that is killed after any call to CloudStack: the same command goes on, and rollback goes back.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { DeployLab } from "./deploy-lab.ts";

let site: DeployLab;
let listener: (command: string) => void = () => {};
before(async () => {
  site = await DeployLab.start();
  site.cloud.onCall(({ command }) => listener(command));
});
after(() => site?.[Symbol.asyncDispose]());
beforeEach(async () => {
  listener = () => {};
  site.vm.setPowerState("poweredOn");
  const run = await site.migrate();
  assert.equal(run.code, 0, run.stderr);
  await site.assertSynced();
});

/** Killed right when the Nth call of this command was carried out, its answer lost. */
const moments: [command: string, nth: number][] = [
  ["detachVolume", 1],
  ["detachVolume", 2],
  ["deployVirtualMachine", 1],
  ["detachVolume", 3],
  ["deleteVolume", 1],
  ["attachVolume", 1],
  ["attachVolume", 2],
  ["startVirtualMachine", 1],
];

async function cutOverAndKill(command: string, nth: number): Promise<void> {
  const { child, result } = site.start();
  let calls = 0;
  listener = (called) => {
    if (called !== command || ++calls < nth) return;
    listener = () => {};
    child.kill("SIGKILL");
  };
  const run = await result;
  assert.equal(run.signal, "SIGKILL", `${command} ${nth}: ${run.log}`);
  await site.cloud.settled();
}

for (const [command, nth] of moments) {
  test(`killed at ${command} ${nth}, the same cutover goes on to one machine, which goes back`, async () => {
    await cutOverAndKill(command, nth);
    const refused = await site.migrate();
    assert.equal(refused.code, 7, refused.stderr);
    assert.match(refused.stderr, /\[deployed\].*on their way to web01-/);
    const run = await site.cutover();
    assert.ok(run.result, run.log);
    const [machine, ...more] = site.cloud.instances();
    assert.deepEqual(more, []);
    assert.equal(machine?.state, "Running");
    assert.deepEqual(site.places(), { 2000: `${machine.name} 1`, 2001: `${machine.name} 0` });
    assert.equal(site.cloud.volumes().length, 2);
    // All of it, since the first one asked the guest to shut down.
    assert.ok(run.result.downtime_ms > run.result.final_sync.duration_ms);
    assert.deepEqual(site.cloud.violations, []);
    const back = await site.rollback({ connected: true });
    assert.equal(back.code, 0, back.stderr);
    site.assertBack();
    await site.assertSynced();
  });
}

for (const [command, nth] of [moments[2]!, moments[6]!, moments[7]!]) {
  test(`killed at ${command} ${nth}, rollback goes back`, async () => {
    await cutOverAndKill(command, nth);
    const back = await site.rollback({ connected: true });
    assert.equal(back.code, 0, back.stderr);
    site.assertBack();
    await site.assertSynced();
    assert.equal(site.deployment(), undefined);
  });
}

test("one that is killed on its way, and whose source somebody powered on, is taken back first", async () => {
  await cutOverAndKill("startVirtualMachine", 1);
  // Nobody would have been told: this is what must not be, and it ends as soon as a command sees it.
  site.cloud.watchSources(() => []);
  site.vm.setPowerState("poweredOn");
  const run = await site.cutover();
  assert.equal(run.failure?.error.code, "power-state-changed", run.log);
  site.assertBack();
  await site.assertSynced();
});
