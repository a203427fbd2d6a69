import assert from "node:assert/strict";
import { test } from "node:test";
import { type OmaApiLab, startOmaApi } from "../lab/oma-api.ts";

const vmPath = "/Datacenter/vm/My VM";

function read(api: OmaApiLab, path = vmPath): Promise<Response> {
  const query = new URLSearchParams({ vm_path: path, disk_id: "disk-2000" });
  return fetch(`${api.url}/api/v1/replications/changeid?${query}`);
}

function write(api: OmaApiLab, jobId: string, body: object): Promise<Response> {
  return fetch(`${api.url}/api/v1/replications/${jobId}/changeid`, {
    method: "POST",
    body: JSON.stringify(body),
  });
}

const body = { change_id: "52 de/7", disk_id: "disk-2000", previous_change_id: "" };

test("A change ID stored under a job is read back under the VM path of that job only", async () => {
  await using api = await startOmaApi({ jobs: { "job-1": vmPath } });
  assert.deepEqual(await (await read(api)).json(), { change_id: "" });
  assert.equal((await write(api, "job-1", body)).status, 200);
  assert.deepEqual(await (await read(api)).json(), { change_id: "52 de/7" });
  assert.deepEqual(await (await read(api, "/Datacenter/vm/Other")).json(), { change_id: "" });
  assert.equal(api.calls.filter((call) => call.method === "POST")[0]!.vmPath, vmPath);
});

test("None is said with 404 or an empty string, as set", async () => {
  await using api = await startOmaApi({ whenNone: "404" });
  assert.equal((await read(api)).status, 404);
  api.setWhenNone("empty");
  assert.equal((await read(api)).status, 200);
});

test("An unknown job is adopted by the VM asked for last, or refused", async () => {
  await using api = await startOmaApi();
  await read(api);
  assert.equal((await write(api, "job-new", body)).status, 200);
  assert.equal(api.changeId(vmPath, "disk-2000"), "52 de/7");
  await using strict = await startOmaApi({ adoptJobs: false });
  await read(strict);
  assert.equal((await write(strict, "job-new", body)).status, 404);
});

test("A forgetful service answers 200 and keeps nothing; broken calls are noted", async () => {
  await using api = await startOmaApi({ jobs: { "job-1": vmPath } });
  api.setForgetful(true);
  assert.equal((await write(api, "job-1", body)).status, 200);
  assert.equal(api.changeId(vmPath, "disk-2000"), undefined);
  assert.equal((await write(api, "job-1", { ...body, disk_id: "2000" })).status, 400);
  assert.equal((await write(api, "job-1", { disk_id: "disk-2000" })).status, 400);
  assert.equal((await fetch(`${api.url}/api/v1/replications/changeid`)).status, 400);
  assert.equal(api.violations.length, 3);
});
