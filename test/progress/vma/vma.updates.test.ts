import assert from "node:assert/strict";
import { test } from "node:test";
import { ProgressTracker, type Stage } from "../../../src/progress/progress.ts";
import { VmaClient } from "../../../src/progress/vma/vma.ts";
import { startPoller } from "../../lab/poller.ts";
import { startVmaApi } from "../../lab/vma-api.ts";
import { Random } from "../../random.ts";
import { until } from "../../until.ts";
import { captureLogger } from "../helpers.ts";

const jobId = "job-20250906-123456";

function twoDiskTracker(): ProgressTracker {
  const tracker = new ProgressTracker();
  const incremental = { syncType: "incremental", capacityBytes: 1e6 } as const;
  tracker.addDisk({
    ...incremental,
    diskId: "disk-2000",
    plannedAreas: Float64Array.of(0, 1000),
    reason: "the stored change ID is of another history",
    syncType: "full",
  });
  tracker.addDisk({
    ...incremental,
    diskId: "disk-2001",
    plannedAreas: Float64Array.of(500, 3000),
  });
  return tracker;
}

test("A run as it should be: every stage in order, each disk, the sums, and one end as the last word", async () => {
  await using api = await startVmaApi();
  const { logger, lines } = captureLogger();
  const tracker = new ProgressTracker();
  const client = new VmaClient({ baseUrl: api.url, jobId, logger, intervalMs: 300 });
  client.start(() => tracker.snapshot());
  const enter = (stage: Stage) => {
    tracker.setStage(stage);
    client.stageChanged();
  };
  // Faster than any request: none may be lost.
  for (const stage of ["EnableCBT", "Snapshot", "QueryCBT", "StartExports"] as const) enter(stage);
  tracker.addDisk({
    diskId: "disk-2000",
    syncType: "full",
    plannedAreas: undefined,
    capacityBytes: 5000,
  });
  tracker.addDisk({
    diskId: "disk-2001",
    syncType: "incremental",
    plannedAreas: Float64Array.of(0, 700, 900, 300),
    capacityBytes: 5000,
  });
  enter("Transfer");
  for (let offset = 0; offset < 5000; offset += 1000) {
    tracker.onChunks("disk-2000", Float64Array.of(offset, 1000, 0));
    const seen = api.updates.length;
    await until("the next updates", () => api.updates.length >= seen + 3);
  }
  tracker.finishDisk("disk-2000");
  tracker.finishDisk("disk-2001");
  for (const stage of ["Finalize", "PersistChangeIDs", "Complete"] as const) enter(stage);
  await client.finish({ status: "completed" });

  assert.deepEqual(api.violations, []);
  const bodies = api.updatesOf(jobId).map((update) => update.body);
  const stagesSeen = bodies
    .filter((body) => body.disk_id === undefined)
    .map((body) => body.stage)
    .filter((stage, i, all) => stage !== all[i - 1]);
  assert.deepEqual(stagesSeen, [
    "Discover",
    "EnableCBT",
    "Snapshot",
    "QueryCBT",
    "StartExports",
    "Transfer",
    "Finalize",
    "PersistChangeIDs",
    "Complete",
  ]);
  assert.deepEqual(
    bodies.filter((body) => body.status !== "in_progress"),
    [bodies.at(-1)],
  );
  assert.deepEqual(bodies.at(-1), {
    stage: "Complete",
    status: "completed",
    bytes_transferred: 6000,
    total_bytes: 6000,
    throughput_bps: bodies.at(-1)!.throughput_bps,
    percent: 100,
    sync_type: "full",
  });
  const job = api.jobs.get(jobId)!;
  assert.equal(job.percent, 100);
  assert.deepEqual(
    [...job.disks.values()].map((disk) => [disk.diskId, disk.bytesTransferred, disk.percent]),
    [
      ["disk-2000", 5000, 100],
      ["disk-2001", 1000, 100],
    ],
  );
  const sent = lines.filter((line) => line.msg === "📊 Progress update sent to VMA");
  assert.equal(sent.length, bodies.length);
  assert.equal(sent.at(-1)!.status, "completed");
});

for (const delayMs of [0, 110]) {
  test(`What the service shows never goes back, with an API that takes ${delayMs} ms an update`, async () => {
    await using api = await startVmaApi();
    const tracker = new ProgressTracker();
    const disks = ["disk-2000", "disk-2001", "disk-2002"];
    for (const diskId of disks) {
      tracker.addDisk({ diskId, syncType: "full", plannedAreas: undefined, capacityBytes: 1000 });
    }
    tracker.setStage("Transfer");
    // 110 ms are more than the share of a round that disks may take: rounds are cut short.
    if (delayMs > 0) api.setFault({ kind: "slow", method: "POST", delayMs });
    const { logger } = captureLogger();
    const client = new VmaClient({ baseUrl: api.url, jobId, logger, intervalMs: 400 });
    client.start(() => tracker.snapshot());
    await until("all disks", () => api.jobs.get(jobId)?.disks.size === 3);
    let shownBefore = 0;
    const random = new Random(1);
    const doneBytes = [0, 0, 0];
    for (let i = 0; i < 24; i++) {
      const disk = random.below(3); // unevenly, or the disks' different ages would even out
      tracker.onChunks(disks[disk]!, Float64Array.of(doneBytes[disk]!, 50, 0));
      doneBytes[disk]! += 50;
      const seen = api.updates.length;
      await until("an update", () => api.updates.length > seen);
      const shown = api.jobs.get(jobId)!.bytesTransferred;
      assert.ok(shown >= shownBefore, `${shownBefore} then ${shown}`);
      shownBefore = shown;
    }
    assert.ok(shownBefore > 600);
    await client.finish({ status: "failed", errorMessage: "stopped" });
    assert.deepEqual(api.violations, []);
  });
}

test("A failed run ends with its stage, the sums and the message, without secrets; a second end is ignored", async () => {
  await using api = await startVmaApi();
  const { addSecret } = await import("../../../src/logger.ts");
  addSecret("hunter2-secret");
  const tracker = twoDiskTracker();
  tracker.setStage("Transfer");
  tracker.onChunks("disk-2000", Float64Array.of(0, 250, 0));
  const client = new VmaClient({ baseUrl: api.url, jobId, logger: captureLogger().logger });
  client.start(() => tracker.snapshot());
  const ends = [
    client.finish({ status: "failed", errorMessage: "login with hunter2-secret was refused" }),
    client.finish({ status: "completed" }),
  ];
  await Promise.all(ends);
  await client.finish({ status: "completed" });
  client.stageChanged();
  assert.deepEqual(api.violations, []);
  const last = api.updatesOf(jobId).filter((update) => update.body.status !== "in_progress");
  assert.equal(last.length, 1);
  assert.deepEqual(last[0]!.body, {
    stage: "Transfer",
    status: "failed",
    bytes_transferred: 250,
    total_bytes: 4000,
    throughput_bps: last[0]!.body.throughput_bps,
    percent: 6.2,
    sync_type: "full",
    sync_reason: "disk-2000: the stored change ID is of another history",
    error_message: "login with [secret] was refused",
  });
});

test("The poller behind the API closes the job at its real end, with the sums of all disks", async () => {
  await using api = await startVmaApi();
  await using poller = await startPoller({ vmaUrl: api.url, intervalMs: 10 });
  poller.addJob(jobId);
  const tracker = twoDiskTracker();
  tracker.setStage("Transfer");
  const { logger } = captureLogger();
  const client = new VmaClient({ baseUrl: api.url, jobId, logger, intervalMs: 300 });
  client.start(() => tracker.snapshot());
  tracker.onChunks("disk-2000", Float64Array.of(0, 1000, 0));
  tracker.finishDisk("disk-2000");
  await until("the first disk's end", () => poller.disks(jobId)[0]?.progress_percent === 100);
  const { polls } = poller.job(jobId)!;
  await until("more polls", () => poller.job(jobId)!.polls > polls + 3);
  assert.equal(poller.job(jobId)!.status, "replicating");
  tracker.onChunks("disk-2001", Float64Array.of(500, 3000, 0));
  tracker.finishDisk("disk-2001");
  tracker.setStage("Complete");
  await client.finish({ status: "completed" });
  await until("the close", () => poller.job(jobId)!.completed_at !== null);
  const row = poller.job(jobId)!;
  assert.deepEqual(
    [row.status, row.progress_percent, row.bytes_transferred, row.total_bytes, row.sync_type],
    ["completed", 100, 4000, 4000, "full"],
  );
  assert.deepEqual(
    poller.disks(jobId).map((disk) => [disk.disk_id, disk.bytes_transferred, disk.status]),
    [
      ["disk-2000", 1000, "completed"],
      ["disk-2001", 3000, "completed"],
    ],
  );
});

test("A job ID with slashes, dots and letters of all kinds arrives as it is", async () => {
  await using api = await startVmaApi();
  const odd = "../a/b?c=d#e .%2F ü📊";
  const client = new VmaClient({
    baseUrl: `${api.url}/`,
    jobId: odd,
    logger: captureLogger().logger,
  });
  const tracker = new ProgressTracker();
  client.start(() => tracker.snapshot());
  await client.finish({ status: "failed", errorMessage: "x" });
  assert.deepEqual([...api.jobs.keys()], [odd]);
});

test("An address that is no HTTP URL and a job ID that no URL can carry are refused at once", () => {
  const { logger } = captureLogger();
  assert.throws(() => new VmaClient({ baseUrl: "localhost", jobId, logger }), { code: "usage" });
  assert.throws(() => new VmaClient({ baseUrl: "file:///x", jobId, logger }), { code: "usage" });
  const baseUrl = "http://localhost:8081";
  assert.throws(() => new VmaClient({ baseUrl, jobId: "..", logger }), { code: "usage" });
});
