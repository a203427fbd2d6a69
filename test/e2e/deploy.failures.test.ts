// Whatever step fails before the new machine is alive: it is gone again, the volumes are back as they were synced.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { CloudStackFault } from "../lab/cloudstack/api/faults.ts";
import { until } from "../until.ts";
import { DeployLab } from "./deploy-lab.ts";

let site: DeployLab;
before(async () => {
  site = await DeployLab.start();
  const first = await site.migrate();
  assert.equal(first.code, 0, first.stderr);
});
after(() => site?.[Symbol.asyncDispose]());
beforeEach(() => {
  site.cloud.faults.clear();
  site.vm.setPowerState("poweredOn");
});

/** The command, and how many of its calls go well before. */
const steps: [title: string, fault: Partial<CloudStackFault>, started: boolean][] = [
  ["the first volume cannot be detached", { command: "detachVolume" }, false],
  ["the second volume cannot be detached", { command: "detachVolume", skip: 1 }, false],
  [
    "there is no room for the machine",
    { name: "apiError", command: "deployVirtualMachine", value: 533 },
    false,
  ],
  ["its own root cannot be detached", { command: "detachVolume", skip: 2 }, false],
  ["the boot volume cannot be attached", { command: "attachVolume" }, false],
  ["the data volume cannot be attached", { command: "attachVolume", skip: 1 }, false],
  ["it cannot be started", { command: "startVirtualMachine", value: 533 }, true],
];

for (const [title, fault, started] of steps) {
  test(`where ${title}, all goes back, and the source runs again as it was asked for`, async () => {
    const text = `no luck with ${fault.command}`;
    site.cloud.faults.add({ name: "jobFails", count: 1, text, ...fault });
    const run = await site.cutover("--power-on-source");
    assert.equal(run.code, 10, run.log);
    assert.match(run.failure?.error.message ?? "", new RegExp(text), "CloudStack's own words");
    site.assertBack();
    await site.assertSynced();
    assert.equal(site.deployment(), undefined);
    assert.equal(run.power?.state, "poweredOn");
    assert.equal(site.vm.record.powerState, "poweredOn");
    const next = await site.migrate();
    assert.equal(next.code, 0, next.stderr);
    // What it may have written is nowhere noted.
    assert.equal(JSON.parse(next.stdout).sync_type, started ? "full" : "incremental");
    await site.assertSynced();
  });
}

test("a machine that is never seen alive is undone, and it is said what was asked of it", async () => {
  const run = await site.cutover("--alive", "tcp:127.0.0.1:1", "--alive-timeout", "2s");
  assert.equal(run.failure?.error.code, "instance-not-alive", run.log);
  assert.match(
    run.failure.error.message,
    /was not seen alive within 0:02: 127\.0\.0\.1:1 did not answer/,
  );
  site.assertBack();
  await site.assertSynced();
  assert.equal(run.power?.state, "poweredOff");
  assert.match(
    run.power.text,
    /is powered off, and its targets hold its last state.*power the VM on/,
  );
});

test("a signal on the way ends the same way, the source on again only then", async () => {
  const { child, result } = site.start("--power-on-source", "--alive", "tcp:127.0.0.1:1");
  await until("the machine runs", () => site.cloud.instances()[0]?.state === "Running");
  child.kill("SIGTERM");
  const run = await result;
  assert.equal(run.code, 143, run.log);
  site.assertBack();
  await site.assertSynced();
  assert.equal(site.vm.record.powerState, "poweredOn");
});

test("where CloudStack is away on the way back, the source stays off, and rollback ends it", async () => {
  const { cloud, vm } = site;
  cloud.faults.add({ name: "jobFails", command: "startVirtualMachine", count: 1 });
  cloud.faults.add({ name: "jobFails", command: "attachVolume", skip: 2, text: "storage is away" });
  const run = await site.cutover("--power-on-source");
  assert.equal(run.code, 10, run.log);
  assert.equal(vm.record.powerState, "poweredOff");
  assert.match(run.power?.text ?? "", /must stay off: .*on their way back from web01-.*rollback/);
  const refused = await site.migrate();
  assert.equal(refused.code, 7, refused.stderr);
  assert.match(refused.stderr, /\[deployed\].*on their way back from web01-/);
  cloud.faults.clear();
  const back = await site.rollback({ connected: true });
  assert.equal(back.code, 0, back.stderr);
  site.assertBack();
  await site.assertSynced();
  vm.setPowerState("poweredOn");
  const next = await site.migrate();
  assert.equal(JSON.parse(next.stdout).sync_type, "incremental");
});

test("what is wrong with the settings is found out before the source is down", async () => {
  const wrong: [string[], RegExp][] = [
    [
      ["--cloudstack-offering", "no such"],
      /--cloudstack-offering no such: no such compute offering/,
    ],
    [["--network", "VM Network=lan,Backup=no such"], /no such: no such network/],
    [["--network", "VM Network=lan"], /where the card 00:50:56:00:aa:02 of port group Backup goes/],
    [["--network", "VM Network=lan,Backup=lan"], /two cards, .* on lan/],
    [["--cloudstack-template", "not downloaded yet"], /is not ready|no such template/],
  ];
  for (const [flags, message] of wrong) {
    const run = await site.cutover(...flags);
    assert.match(run.failure?.error.message ?? run.log, message);
    assert.equal(site.vm.record.powerState, "poweredOn", flags.join(" "));
  }
  assert.deepEqual(site.cloud.instances(), []);
});
