import assert from "node:assert/strict";
import { test } from "node:test";
import { cloudStackFaults } from "../lab/cloudstack/api/faults.ts";
import { type CloudStackLab, startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { until } from "../until.ts";
import { RawClient } from "./cloudstack-client.ts";

const command = "createVolume";

async function jobOf(client: RawClient, cloud: CloudStackLab) {
  const { zone, diskOffering } = client.ids;
  const { jobid } = await client.run(command, {
    ...{ name: "x", zoneid: zone, size: "1", diskofferingid: diskOffering("Custom Disk") },
  });
  await cloud.settled();
  return client.run("queryAsyncJobResult", { jobid: String(jobid) });
}

test("each fault of the request or its answer strikes as it says, and no longer than it is told to", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const names = () => cloud.volumes().map(({ name }) => name);
  cloud.faults.add({ name: "lostRequest", command, count: 1 });
  await assert.rejects(client.volume("1"), /fetch failed/);
  assert.deepEqual(names(), []);
  cloud.faults.add({ name: "lostAnswer", command, count: 1 });
  await assert.rejects(client.volume("2"), /fetch failed/);
  assert.deepEqual(names(), ["2"]);
  cloud.faults.add({ name: "requestTwice", command, count: 1 });
  await client.volume("3");
  assert.deepEqual(names(), ["2", "3", "3"]);
  for (const value of [401, 429, 431, 432, 530, 533, 535]) {
    cloud.faults.add({ name: "apiError", command, count: 1, value, text: "as told" });
    await assert.rejects(client.volume("4"), new RegExp(`^Error: ${value}: as told`));
  }
  cloud.faults.add({ name: "html", count: 1 });
  await assert.rejects(client.run("listZones"), SyntaxError);
  cloud.faults.add({ name: "http503", count: 1 });
  await assert.rejects(client.run("listZones"), SyntaxError);
  cloud.faults.add({ name: "slow", count: 1, value: 300 });
  const startedMs = performance.now();
  await client.run("listZones");
  assert.ok(performance.now() - startedMs >= 299);
  cloud.faults.add({ name: "noAnswer", command: "listZones", count: 1 });
  const body = client.signed("listZones");
  const signal = AbortSignal.timeout(300);
  await assert.rejects(fetch(cloud.url, { method: "POST", body, signal }), /aborted/);
  assert.deepEqual([cloud.faults.list(), names()], [[], ["2", "3", "3"]]);
});

test("a fault lets as many chances pass as it is told to, and other commands", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  cloud.faults.add({ name: "apiError", command: "listZones", skip: 1 });
  await client.run("listZones");
  await client.run("listNetworks");
  await assert.rejects(client.run("listZones"), /530/);
  await assert.rejects(client.run("listZones"), /530/);
  cloud.faults.clear("apiError");
  await client.run("listZones");
  assert.throws(() => cloud.faults.add({ name: "nonsense" as "slow" }), /No such fault/);
});

const jobEndings = {
  jobFails: { status: 2, code: 533, result: true },
  jobFailsDone: { status: 2, code: 533, result: true },
  jobHangs: { status: 0, code: 0, result: false },
  jobHangsDone: { status: 0, code: 0, result: false },
  jobVanishes: { status: 2, code: 530, result: false },
  jobVanishesDone: { status: 2, code: 530, result: false },
  slowJob: { status: 1, code: 0, result: true },
} as const;

for (const [name, { status, code, result }] of Object.entries(jobEndings)) {
  test(`a job with ${name}: ${cloudStackFaults[name as keyof typeof jobEndings]}`, async () => {
    await using cloud = await startCloudStack({ boots: false });
    const client = new RawClient(cloud);
    const id = await client.volume("attached");
    const value = name === "slowJob" ? 50 : 533;
    cloud.faults.add({
      name: name as keyof typeof jobEndings,
      command: "attachVolume",
      count: 1,
      value,
    });
    const { jobid } = await client.run("attachVolume", {
      id,
      virtualmachineid: cloud.appliance.id,
    });
    await cloud.settled();
    const job = await client.run("queryAsyncJobResult", { jobid: String(jobid) });
    assert.deepEqual(
      [job.jobstatus, job.jobresultcode, "jobresult" in job],
      [status, code, result],
    );
    const isDone = cloud.volumes()[0]!.instanceId !== undefined;
    assert.equal(isDone, name.endsWith("Done") || name === "slowJob");
  });
}

test("a job may vanish and be done later, or be done and be unknown", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const id = await client.volume("late");
  const attach = { id, virtualmachineid: cloud.appliance.id };
  cloud.faults.add({ name: "jobVanishesLate", command: "attachVolume", count: 1, value: 300 });
  const { jobid } = await client.run("attachVolume", attach);
  const job = await client.run("queryAsyncJobResult", { jobid: String(jobid) });
  assert.deepEqual([job.jobstatus, cloud.volumes()[0]!.instanceId], [2, undefined]);
  await until("it is attached", () => cloud.volumes()[0]!.instanceId === cloud.appliance.id);
  cloud.faults.add({ name: "jobForgotten", command: "detachVolume", count: 1 });
  const { jobid: forgotten } = await client.run("detachVolume", { id });
  await cloud.settled();
  await assert.rejects(client.run("queryAsyncJobResult", { jobid: String(forgotten) }), /431/);
  assert.equal(cloud.volumes()[0]!.instanceId, undefined);
});

test("after a restart of the management server a job has failed without a result, done or not", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  cloud.faults.add({ name: "slowJob", value: 200, count: 1 });
  const { jobid } = await client.run("createVolume", {
    ...{ name: "x", zoneid: client.ids.zone, size: "1" },
    diskofferingid: client.ids.diskOffering("Custom Disk"),
  });
  await cloud.refuse();
  await assert.rejects(client.run("listZones"), /fetch failed/);
  cloud.restart();
  await cloud.accept();
  const job = await client.run("queryAsyncJobResult", { jobid: String(jobid) });
  assert.deepEqual([job.jobstatus, "jobresult" in job], [2, false]);
  await cloud.settled();
  assert.equal((await jobOf(client, cloud)).jobstatus, 1);
});
