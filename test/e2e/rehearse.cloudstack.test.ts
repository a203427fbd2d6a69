// A rehearsal in CloudStack: clones of the converted volumes as a machine in an isolated network, while syncs go on.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, test } from "node:test";
import { digestOfFile } from "../digest.ts";
import { breachesOf } from "../lab/json-schema.ts";
import { DeployLab } from "./deploy-lab.ts";

let site: DeployLab;
before(async () => {
  site = await DeployLab.start();
  await sync();
});
after(() => site?.[Symbol.asyncDispose]());
afterEach(() => site.cloud.faults.clear());

async function sync(): Promise<string> {
  const { code, stdout, stderr } = await site.migrate();
  assert.equal(code, 0, stderr);
  await site.assertSynced();
  return JSON.parse(stdout).sync_type;
}

const digests = () =>
  Promise.all([...site.volumes.keys()].map((key) => digestOfFile(site.fileOf(key))));

test("the machine runs from converted clones, the volumes are as they were, and syncs go on", async () => {
  const { cloud, vm } = site;
  const before = await digests();
  const run = await site.rehearse();
  assert.ok(run.result, run.log);
  assert.deepEqual(
    breachesOf("rehearse", { status: "completed", exit_code: 0, ...run.result }),
    [],
  );
  assert.equal(run.result.verdict, "boots");
  assert.deepEqual(await digests(), before);
  const [machine, ...more] = cloud.instances();
  assert.deepEqual(more, []);
  assert.equal(machine?.state, "Running");
  assert.match(machine.name, /^web01-[0-9a-f]{6}-rehearsal$/);
  const clones = cloud.volumes().filter(({ instanceId }) => instanceId === machine.id);
  assert.equal(cloud.volumes().length, 4);
  for (const [at, key] of [2001, 2000].entries()) {
    const expected = await readFile(site.fileOf(key));
    expected.fill(7, 64 << 10, (64 + 100) << 10);
    expected.fill(0, 1 << 20, (1 << 20) + (64 << 10));
    const clone = clones.find(({ deviceId }) => deviceId === at)!;
    assert.ok((await readFile(cloud.volumeFile(clone.id))).equals(expected), `disk-${key}`);
  }
  await vm.randomWrites(2000, { seed: 2, writes: 5 });
  assert.equal(await sync(), "incremental");
  assert.deepEqual(site.places(), { 2000: "appliance", 2001: "appliance" });
});

test("another takes its place, and --end removes it with all that it was made of", async () => {
  const first = site.cloud.instances()[0]!.id;
  const run = await site.rehearse();
  assert.ok(run.result, run.log);
  assert.equal(site.cloud.instances().length, 1);
  assert.notEqual(site.cloud.instances()[0]!.id, first);
  const ended = await site.endRehearsal();
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(JSON.parse(ended.stdout).removed, /-rehearsal$/);
  site.assertBack();
  assert.equal(JSON.parse((await site.endRehearsal()).stdout).removed, undefined);
});

test("once the time of --for is over, the next sync removes it", async () => {
  const run = await site.rehearse("--for", "1s");
  assert.ok(run.result?.instance?.until, run.log);
  assert.equal(site.cloud.instances().length, 1);
  const { code, stderr } = await site.migrate();
  assert.equal(code, 0, stderr);
  assert.match(stderr, /the rehearsal web01-\S+-rehearsal is removed from CloudStack/);
  site.assertBack();
});

test("one that is not seen alive stays to be looked at; one that cannot be started leaves nothing", async () => {
  const silent = await site.rehearse("--alive", "tcp:127.0.0.1:1", "--alive-timeout", "1s");
  assert.equal(silent.failure?.error.code, "instance-not-alive", silent.log);
  assert.equal(site.cloud.instances()[0]?.state, "Running");
  assert.equal((await site.endRehearsal()).code, 0);
  site.assertBack();
  site.cloud.faults.add({ name: "jobFails", command: "startVirtualMachine", text: "no host" });
  const failed = await site.rehearse();
  assert.match(failed.failure?.error.message ?? "", /no host/);
  site.assertBack();
  assert.equal(await sync(), "incremental");
});

test("a network where it would meet the machine that it is a copy of is refused before anything is made", async () => {
  const run = await site.rehearse("--network", "Other=lan");
  assert.equal(run.failure?.error.code, "usage", run.log);
  assert.match(run.failure.error.message, /lan is a network of type Shared/);
  site.assertBack();
});
