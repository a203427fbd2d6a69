import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import { ProgressTracker } from "../../../src/progress/progress.ts";
import { fetchProgress } from "../../../src/progress/vma/status.ts";
import { VmaClient } from "../../../src/progress/vma/vma.ts";
import { startVmaApi } from "../../lab/vma-api.ts";
import { captureLogger } from "../helpers.ts";

test("What a run reported is read back", async () => {
  await using api = await startVmaApi();
  const tracker = new ProgressTracker();
  const client = new VmaClient({
    baseUrl: api.url,
    jobId: "a/b",
    logger: captureLogger().logger,
  });
  client.start(() => tracker.snapshot());
  tracker.addDisk({
    diskId: "disk-2000",
    syncType: "incremental",
    plannedAreas: Float64Array.of(0, 4000),
    capacityBytes: 1e6,
  });
  tracker.onChunks("disk-2000", Float64Array.of(0, 1000, 0));
  tracker.setStage("Transfer");
  client.stageChanged();
  await client.finish({ status: "failed", errorMessage: "target\u001b[31m gone" });
  const { currentMbps, etaSeconds, ...job } = await fetchProgress(api.url, "a/b");
  assert.ok(currentMbps !== undefined && etaSeconds !== undefined);
  assert.deepEqual(
    { ...job, disks: job.disks.map((disk) => ({ ...disk, throughputBps: 0 })) },
    {
      jobId: "a/b",
      status: "failed",
      syncType: "incremental",
      phase: "Transfer",
      currentOperation: "Transfer",
      percentage: 25,
      bytesTransferred: 1000,
      totalBytes: 4000,
      errorMessage: "target [31m gone", // no control characters from elsewhere on our terminal
      disks: [
        {
          diskId: "disk-2000",
          status: "in_progress",
          syncType: "incremental",
          percentage: 25,
          bytesTransferred: 1000,
          totalBytes: 4000,
          throughputBps: 0,
        },
      ],
    },
  );
});

const unusable: [name: string, status: number, body: string, expected: RegExp][] = [
  ["no such job", 404, "{}", /knows no such job/],
  ["an error", 503, "<html>", /HTTP 503/],
  ["a redirect", 302, "", /HTTP 302/],
  ["no JSON", 200, "<html>", /not JSON/],
  ["JSON that is no job", 200, "[1]", /no status/],
  ["null", 200, "null", /no status/],
  ["megabytes", 200, `{"status":"${"x".repeat(2e6)}"}`, /longer than 1048576 bytes/],
];

for (const [name, status, body, expected] of unusable) {
  test(`An answer with ${name} is a typed error of one line`, async () => {
    const server = createServer((_, response) => response.writeHead(status).end(body));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await assert.rejects(fetchProgress(url, "job-1"), (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, status === 404 ? "usage" : "vma-unavailable");
        assert.match(error.message, expected);
        assert.ok(!error.message.includes("\n"));
        assert.equal(error.cause, undefined);
        return true;
      });
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
}

test("An absent and a hanging service are typed errors, and an abort is the signal's own reason", async () => {
  await using api = await startVmaApi();
  api.setFault({ kind: "hang" });
  await assert.rejects(fetchProgress(api.url, "j", { timeoutMs: 50 }), {
    code: "vma-unavailable",
    message: /no answer within 50 ms/,
  });
  const reason = new Error("stopped");
  await assert.rejects(fetchProgress(api.url, "j", { signal: AbortSignal.abort(reason) }), reason);
  await api.refuse();
  await assert.rejects(fetchProgress(api.url, "j"), {
    code: "vma-unavailable",
    message: /ECONNREFUSED/,
  });
});

test("Odd fields in an otherwise usable answer do no harm", async () => {
  const body = {
    status: "in_progress",
    percentage: 1e9,
    bytes_transferred: -5,
    total_bytes: "many",
    throughput: null,
    timing: [],
    disk_progresses: [null, "x", { disk_id: 7, percent: 12.5, bytes_transferred: 3 }],
  };
  const server = createServer((_, response) => response.end(JSON.stringify(body)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const job = await fetchProgress(url, "job-1").finally(() => server.close());
  assert.equal(job.percentage, 100);
  assert.equal(job.bytesTransferred, 0);
  assert.equal(job.currentMbps, undefined);
  assert.deepEqual(
    job.disks.map((disk) => [disk.diskId, disk.percentage]),
    [
      ["disk", 0],
      ["disk", 0],
      ["disk", 12.5],
    ],
  );
});
