// The client against the laboratory's CloudStack: every write under every fault has its one effect.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pino } from "pino";
import { CloudStack, type CloudStackSettings } from "../../src/cloudstack/cloudstack.ts";
import { MigratekitError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import type { CloudStackFaultName } from "../lab/cloudstack/api/faults.ts";
import { type CloudStackLab, seedNames, startCloudStack } from "../lab/cloudstack/cloudstack.ts";

function clientOf(
  lab: CloudStackLab,
  settings: Partial<CloudStackSettings> = {},
  account?: string,
) {
  const { apiKey, secretKey } = lab.account(account);
  const keys = { apiKey: new Secret(apiKey), secretKey: new Secret(secretKey) };
  const hasty = {
    ...{ patienceMs: 10_000, pollMs: 5, validMs: 1_500 },
    ...{ requestTimeoutMs: 1_000, jobDeadlineMs: 2_000 },
  };
  return new CloudStack(
    { endpoint: lab.url, ...keys, ...hasty, ...settings },
    { logger: pino({ level: "silent" }) },
  );
}

const specOf = async (cloud: CloudStack) => ({
  name: "web-1a2b3c",
  displayName: "a*(b)!'~ c+d&e",
  zoneId: (await cloud.zone()).id,
  offeringId: (await cloud.offering(seedNames.smallOffering)).id,
  templateId: (await cloud.template(seedNames.template)).id,
  nics: [
    {
      ...{ networkId: (await cloud.network(seedNames.network)).id },
      ...{ mac: "52:54:00:00:00:01", ip: "192.0.2.77" },
    },
  ],
  tags: { "migratekit-vm": "a*(b)!'~ c+d&e" },
});

const wanted = async (cloud: CloudStack) => ({
  ...{ name: "migratekit a*(b)!'~ c+d&e", sizeGiB: 1 },
  diskOfferingId: (await cloud.diskOffering(seedNames.diskOffering)).id,
  zoneId: (await cloud.zone()).id,
  tags: { "migratekit-disk": "x/2000" },
});

/** Every write of the swap, in its order, and what has to be there after all of them. */
async function swap(lab: CloudStackLab, cloud: CloudStack): Promise<void> {
  const volume = await cloud.createVolume(await wanted(cloud));
  const appliance = await cloud.appliance(lab.appliance.id);
  await cloud.attachVolume(volume.id, appliance.id);
  await cloud.detachVolume(volume.id, appliance.id);
  const instance = await cloud.deployInstance(await specOf(cloud));
  const [root] = await cloud.volumesOf(instance.id);
  if (root !== undefined && root.id !== volume.id) {
    await cloud.detachVolume(root.id);
    await cloud.deleteVolume(root.id);
  }
  await cloud.attachVolume(volume.id, instance.id, 0);
  await cloud.startInstance(instance.id);
  await cloud.stopInstance(instance.id, { forced: true });
}

function assertSwapped(lab: CloudStackLab): void {
  const [instance, ...more] = lab.instances();
  assert.equal(more.length, 0, "one instance");
  assert.equal(instance!.state, "Stopped");
  assert.deepEqual(
    instance!.nics.map(({ mac, ip }) => [mac, ip]),
    [["52:54:00:00:00:01", "192.0.2.77"]],
  );
  const volumes = lab.volumes().filter(({ state }) => state !== "Destroy");
  assert.equal(volumes.length, 1, "one volume");
  assert.deepEqual([volumes[0]!.instanceId, volumes[0]!.deviceId], [instance!.id, 0]);
  assert.deepEqual(lab.violations, []);
}

const faults: [CloudStackFaultName, number?][] = [
  ["lostAnswer"],
  ["lostRequest"],
  ["noAnswer"],
  ["requestTwice"],
  ["jobFailsDone"],
  ["jobHangsDone"],
  ["jobVanishes"],
  ["jobVanishesDone"],
  ["jobVanishesLate", 100],
  ["jobForgotten"],
  ["slowJob", 300],
  ["http503"],
  ["apiError", 429],
];
const writes = [
  ...["createVolume", "createTags", "attachVolume", "detachVolume", "deployVirtualMachine"],
  ...["deleteVolume", "startVirtualMachine", "stopVirtualMachine"],
];
describe("each write of a swap has its one effect", { concurrency: 4 }, () => {
  for (const [name, value] of faults) {
    test(`with ${name}`, async () => {
      await using lab = await startCloudStack({ boots: false });
      // Deleting a volume is no job.
      const struck = /job/i.test(name) ? writes.filter((each) => each !== "deleteVolume") : writes;
      for (const command of struck)
        lab.faults.add({ name, command, count: 1, ...(value === undefined ? {} : { value }) });
      await swap(lab, clientOf(lab));
      await lab.settled();
      assertSwapped(lab);
      assert.deepEqual(
        lab.faults.list().map(({ command }) => command),
        [],
        "all faults struck",
      );
    });
  }
});

test("a swap without a fault asks for each thing once, and a second one for nothing", async () => {
  await using lab = await startCloudStack({ boots: false });
  await swap(lab, clientOf(lab));
  assertSwapped(lab);
  const commands = lab.calls.changes().map(({ command }) => command);
  assert.deepEqual(commands.toSorted(), [
    ...["attachVolume", "attachVolume", "createTags", "createTags", "createVolume", "deleteVolume"],
    ...["deployVirtualMachine", "detachVolume", "detachVolume"],
    ...["startVirtualMachine", "stopVirtualMachine"],
  ]);
  assert.ok(
    lab.calls.calls.every(
      ({ method, signatureVersion }) => method === "POST" && signatureVersion === "3",
    ),
  );
  lab.calls.clear();
  const cloud = clientOf(lab);
  const [instance] = lab.instances();
  await cloud.createVolume(await wanted(cloud));
  await cloud.deployInstance(await specOf(cloud));
  await cloud.attachVolume(lab.volumes()[0]!.id, instance!.id, 0);
  await cloud.stopInstance(instance!.id);
  assert.deepEqual(lab.calls.changes(), []);
});

test("a job that hangs without an effect is given up, and not begun a second time", async () => {
  await using lab = await startCloudStack({ boots: false });
  const cloud = clientOf(lab, { jobDeadlineMs: 200 });
  const volume = await cloud.createVolume(await wanted(cloud));
  lab.calls.clear();
  lab.faults.add({ name: "jobHangs", command: "attachVolume" });
  await assert.rejects(cloud.attachVolume(volume.id, lab.appliance.id), (error) => {
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "cloudstack-answer-lost");
    assert.match(error.message, /could not attach volume .*: its job .* did not end within 0 s/);
    return true;
  });
  assert.equal(lab.calls.changes().length, 1);
});

test("a whole list is read although the server gives few at a time", async () => {
  await using lab = await startCloudStack({ boots: false });
  const cloud = clientOf(lab, { pageSize: 2 });
  const make = await wanted(cloud);
  for (let n = 0; n < 5; n++) await cloud.createVolume({ ...make, name: `v${n}`, tags: {} });
  for (const { id } of lab.volumes()) await cloud.attachVolume(id, lab.appliance.id);
  const volumes = await cloud.volumesOf(lab.appliance.id);
  assert.deepEqual(
    volumes
      .map(({ name }) => name)
      .slice(1)
      .toSorted(),
    ["v0", "v1", "v2", "v3", "v4"],
  );
});

test("limits, abilities and allowed commands are told, and what only administrators may ask is left open", async () => {
  await using lab = await startCloudStack({ boots: false, limits: { volume: 3, memory: 2048 } });
  const cloud = clientOf(lab);
  const before = await cloud.limits();
  await cloud.createVolume(await wanted(cloud));
  const limits = await cloud.limits();
  assert.equal(limits.account, seedNames.account);
  assert.equal(limits.volumes, before.volumes! - 1);
  assert.equal(limits.instances, undefined);
  assert.equal((await cloud.capabilities()).version, "4.19.1.0");
  assert.ok((await cloud.allowedCommands()).has("deployvirtualmachine"));
  assert.equal(await cloud.dataVolumesMax(), undefined);
  const admin = clientOf(lab, {}, seedNames.adminAccount);
  assert.equal(await admin.dataVolumesMax(), 13);
});

test("in a project everything is the project's", async () => {
  await using lab = await startCloudStack({ boots: false });
  const cloud = clientOf(lab, { project: seedNames.project });
  const volume = await cloud.createVolume(await wanted(cloud));
  assert.ok(volume.projectId !== undefined);
  assert.equal(await clientOf(lab).findVolume(volume.name), undefined);
  assert.equal((await cloud.findVolume(volume.name))?.id, volume.id);
});

test("a destroyed instance is expunged where the account may, and told of where not", async () => {
  for (const usersMayExpunge of [true, false]) {
    await using lab = await startCloudStack({ boots: false, usersMayExpunge });
    const cloud = clientOf(lab);
    const { id } = await cloud.deployInstance(await specOf(cloud));
    const { mayExpunge } = await cloud.capabilities();
    assert.equal(mayExpunge, usersMayExpunge);
    if (!mayExpunge) {
      await assert.rejects(
        cloud.destroyInstance(id, { expunge: true }),
        (error) => error instanceof MigratekitError && error.code.startsWith("cloudstack-"),
      );
    }
    await cloud.destroyInstance(id, { expunge: mayExpunge });
    assert.equal(await cloud.instance(id), undefined);
    assert.equal(lab.instances().length, usersMayExpunge ? 0 : 1);
  }
});

test("a wrong secret is a login that is refused, and says no more", async () => {
  await using lab = await startCloudStack({ boots: false });
  const cloud = clientOf(lab, { secretKey: new Secret("not this one") });
  await assert.rejects(cloud.zone(), (error) => {
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "cloudstack-login");
    assert.ok(!JSON.stringify([error.message, error.context]).includes("not this one"));
    return true;
  });
});
