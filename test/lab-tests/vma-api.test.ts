import assert from "node:assert/strict";
import { test } from "node:test";
import { startVmaApi, type VmaApiLab } from "../lab/vma-api.ts";

const base = {
  stage: "Transfer",
  status: "in_progress",
  bytes_transferred: 10,
  total_bytes: 100,
  throughput_bps: 5,
  percent: 10,
  sync_type: "full",
};

async function post(api: VmaApiLab, body: object, jobId = "job-1"): Promise<number> {
  const response = await fetch(`${api.url}/api/v1/progress/${jobId}/update`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  return response.status;
}

/** The job's fields as they came, checked one by one below. */
interface Job {
  [field: string]: unknown;
  disk_progresses: { disk_id: string }[];
  throughput: { current_mbps: unknown };
  timing: { eta_seconds: unknown };
}

async function get(api: VmaApiLab, jobId = "job-1"): Promise<Job> {
  const response = await fetch(`${api.url}/api/v1/progress/${jobId}`);
  assert.equal(response.status, 200);
  return (await response.json()) as Job;
}

async function getStatus(api: VmaApiLab): Promise<number> {
  return (await fetch(`${api.url}/api/v1/progress/job-1`)).status;
}

test("The first update begins a job, disks are added up, a job's update overwrites the totals", async () => {
  await using api = await startVmaApi();
  assert.equal(await getStatus(api), 404);
  assert.equal(await post(api, { ...base, disk_id: "disk-2000" }), 200);
  await post(api, { ...base, disk_id: "disk-2001", bytes_transferred: 50, percent: 50 });
  let job = await get(api);
  assert.deepEqual([job.bytes_transferred, job.total_bytes, job.percentage], [60, 200, 30]);
  assert.deepEqual(
    job.disk_progresses.map((disk) => disk.disk_id),
    ["disk-2000", "disk-2001"],
  );
  await post(api, { ...base, bytes_transferred: 70, total_bytes: 140, percent: 50 });
  job = await get(api);
  assert.deepEqual([job.bytes_transferred, job.total_bytes, job.percentage], [70, 140, 50]);
  for (const field of ["job_id", "status", "sync_type", "phase", "current_operation"]) {
    assert.equal(typeof job[field], "string", field);
  }
  assert.equal(typeof job.throughput.current_mbps, "number");
  assert.equal(typeof job.timing.eta_seconds, "number");
  assert.deepEqual(api.violations, []);
});

test("An end for one disk ends the whole job, as in reality, and is a breach like the other ones", async () => {
  await using api = await startVmaApi();
  await post(api, { ...base, disk_id: "disk-2000", status: "completed", percent: 100 });
  assert.equal((await get(api)).status, "completed");
  await post(api, base);
  await post(api, { ...base, status: "failed" }, "job-2");
  await post(api, { ...base, stage: "Sleep", bytes_transferred: 1.5, percent: 101 }, "job-3");
  await post(api, { ...base, percent: 5 }, "job-1");
  assert.deepEqual(api.violations, [
    "job-1: completed for one disk",
    "job-1: an update (in_progress) after completed",
    "job-2: error_message with status failed",
    "job-3: unknown stage Sleep",
    "job-3: bytes_transferred is 1.5",
    "job-3: percent is 101",
    "job-3: 100 % before the end",
    "job-1: the job went back from 10 to 5 %",
  ]);
});

test("Faults strike the requests they are meant for, and a refused port comes back as the same one", async () => {
  await using api = await startVmaApi();
  api.setFault({ kind: "status", status: 500, times: 1, method: "POST" });
  assert.equal(await getStatus(api), 404);
  assert.equal(await post(api, base), 500);
  assert.equal(await post(api, base), 200);
  api.setFault({ kind: "hang", stored: true, times: 1 });
  const abort = AbortSignal.timeout(50);
  await assert.rejects(
    fetch(`${api.url}/api/v1/progress/job-2/update`, {
      method: "POST",
      body: JSON.stringify(base),
      signal: abort,
    }),
  );
  assert.equal(api.updatesOf("job-2").length, 1);
  await api.refuse();
  await assert.rejects(get(api));
  await api.accept();
  assert.equal((await get(api)).status, "in_progress");
});
