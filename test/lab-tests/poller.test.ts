import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startPoller } from "../lab/poller.ts";
import { startVmaApi } from "../lab/vma-api.ts";

const update = {
  stage: "Transfer",
  status: "in_progress",
  bytes_transferred: 50,
  total_bytes: 100,
  throughput_bps: 5_000_000,
  percent: 50,
  sync_type: "incremental",
};

async function post(url: string, body: object): Promise<void> {
  await fetch(`${url}/api/v1/progress/job-1/update`, {
    method: "POST",
    body: JSON.stringify(body),
  });
}

test("A job's rows follow the API until its first end and never change after it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "migratekit-poller-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const databasePath = join(folder, "oma.sqlite");
  await using api = await startVmaApi();
  await using poller = await startPoller({ vmaUrl: api.url, databasePath, intervalMs: 60_000 });
  poller.addJob("job-1");
  await poller.poll();
  assert.equal(poller.job("job-1")!.status, "pending");
  await post(api.url, { ...update, disk_id: "disk-2000" });
  await poller.poll();
  assert.equal(poller.job("job-1")!.status, "replicating");
  assert.equal(poller.job("job-1")!.progress_percent, 50);
  assert.equal(poller.job("job-1")!.throughput_mbps, 5);
  assert.equal(poller.disks("job-1")[0]!.disk_id, "disk-2000");
  await post(api.url, { ...update, stage: "Complete", status: "completed", percent: 100 });
  await poller.poll();
  const closed = poller.job("job-1")!;
  assert.equal(closed.status, "completed");
  assert.ok(closed.completed_at);
  await post(api.url, { ...update, status: "failed", error_message: "late" });
  await poller.poll();
  assert.deepEqual(poller.job("job-1"), closed);
});

test("An end of one disk closes the job with the other disk's bytes missing: the harm it stands for", async () => {
  await using api = await startVmaApi();
  await using poller = await startPoller({
    vmaUrl: api.url,
    intervalMs: 10,
    discoverJobs: () => api.jobs.keys(),
  });
  await post(api.url, { ...update, disk_id: "disk-2000", status: "completed" });
  while (poller.job("job-1")?.completed_at == null) await poller.poll();
  await post(api.url, { ...update, bytes_transferred: 100, percent: 100, status: "completed" });
  await poller.poll();
  assert.equal(poller.job("job-1")!.bytes_transferred, 50);
});

test("An API that is away or talks nonsense leaves the rows as they are", async () => {
  await using api = await startVmaApi();
  await using poller = await startPoller({ vmaUrl: api.url, intervalMs: 60_000 });
  poller.addJob("job-1");
  await post(api.url, update);
  await poller.poll();
  const before = poller.job("job-1");
  api.setFault({ kind: "garbage" });
  await poller.poll();
  await api.refuse();
  await poller.poll();
  assert.deepEqual(poller.job("job-1"), before);
});
