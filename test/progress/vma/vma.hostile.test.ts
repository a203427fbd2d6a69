import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ProgressTracker } from "../../../src/progress/progress.ts";
import { VmaClient } from "../../../src/progress/vma/vma.ts";
import type { ApiFault } from "../../lab/api-server.ts";
import { startVmaApi, type VmaApiLab } from "../../lab/vma-api.ts";
import { until } from "../../until.ts";
import { captureLogger } from "../helpers.ts";

const jobId = "job-1";
/** Ten times faster than in reality, so that 2.5 s are 250 ms here. */
const intervalMs = 200;
const gapMsMax = 250;
/** What a busy machine may add; without its safeguard each thing bounded below would never end. */
const noiseMs = 2000;

function clientFor(api: VmaApiLab, finishTimeoutMs = 3000) {
  const { logger, lines } = captureLogger();
  const tracker = new ProgressTracker();
  for (const diskId of ["disk-2000", "disk-2001", "disk-2002"]) {
    tracker.addDisk({ diskId, syncType: "full", plannedAreas: undefined, capacityBytes: 1000 });
  }
  tracker.setStage("Transfer");
  const client = new VmaClient({ baseUrl: api.url, jobId, logger, intervalMs, finishTimeoutMs });
  client.start(() => tracker.snapshot());
  return { client, tracker, lines };
}

const ends = (api: VmaApiLab) =>
  api.updatesOf(jobId).filter((update) => update.body.status !== "in_progress");

const faults: (ApiFault & { name: string })[] = [
  { name: "hangs", kind: "hang" },
  { name: "hangs after it took the update", kind: "hang", stored: true },
  { name: "resets connections", kind: "reset" },
  { name: "answers 500", kind: "status", status: 500 },
  { name: "is slower than the interval", kind: "slow", delayMs: intervalMs * 2 },
  { name: "answers garbage", kind: "garbage", stored: true },
  { name: "answers with 50 MB", kind: "huge", bytes: 50e6, stored: true },
  { name: "redirects", kind: "redirect", location: "http://127.0.0.1:9/" },
];

describe("Each way an API can misbehave", { concurrency: 4 }, () => {
  for (const fault of faults) {
    test(`When the API ${fault.name}, nothing waits for it and the end arrives exactly once after it recovers`, async () => {
      await using api = await startVmaApi();
      const { client, tracker } = clientFor(api);
      await until("the first updates", () => api.updates.length >= 4);
      api.setFault(fault);
      const started = performance.now();
      for (let i = 0; i < 100; i++) {
        tracker.onChunks("disk-2000", Float64Array.of(i * 10, 10, 0));
        client.stageChanged();
      }
      assert.ok(performance.now() - started < noiseMs, "reporting waited for the API");
      await sleep(intervalMs * 3);
      const end = client.finish({ status: "completed" });
      await sleep(intervalMs * 2);
      api.setFault(undefined);
      await end;
      // A slow one may still be working through what it took earlier.
      await until("the end", () => ends(api).length > 0);
      assert.equal(ends(api).length, 1);
      assert.equal(api.updatesOf(jobId).at(-1)!.body.status, "completed");
    });

    test(`When the API ${fault.name} for good, the end of the run is held up for a bounded time`, async () => {
      await using api = await startVmaApi();
      const { client, lines } = clientFor(api, 1000);
      await until("the first updates", () => api.updates.length >= 4);
      api.setFault(fault);
      const started = performance.now();
      await client.finish({ status: "failed", errorMessage: "x" });
      const tookMs = performance.now() - started;
      assert.ok(tookMs < 1000 + 1000 + noiseMs, `finish took ${tookMs} ms`);
      assert.ok(ends(api).length <= 1, `${ends(api).length} ends`);
      const warned = lines.some((line) => line.msg.includes("did not take the last"));
      const learnt = fault.kind === "slow" || (fault.stored === true && fault.kind !== "hang");
      assert.equal(warned, !learnt);
    });
  }
});

test("An absent API holds nothing up, is warned about once, and gets the rest when it comes", async () => {
  await using api = await startVmaApi();
  await api.refuse();
  const { client, lines } = clientFor(api);
  await until("three tries", () => lines.filter((l) => l.msg.includes("not taken")).length >= 3);
  assert.equal(lines.filter((line) => line.level >= 40).length, 1);
  await api.accept();
  await until("all disks", () => api.jobs.get(jobId)?.disks.size === 3);
  await client.finish({ status: "completed" });
  assert.deepEqual(api.violations, []);
});

test("The end goes through when the API is refused at first and comes back within the time", async () => {
  await using api = await startVmaApi();
  const { client } = clientFor(api);
  await until("the first updates", () => api.updates.length >= 4);
  await api.refuse();
  const end = client.finish({ status: "completed" });
  await sleep(600);
  await api.accept();
  await end;
  assert.equal(ends(api).length, 1);
});

test("The gap between requests stays within 2.5 s (scaled) while requests hang, one at a time", async () => {
  const arrivals: { atMs: number; job: boolean }[] = [];
  let open = 0;
  let openMax = 0;
  const server = createServer((request, response) => {
    open++;
    openMax = Math.max(openMax, open);
    let text = "";
    request.on("data", (chunk) => {
      text += chunk;
    });
    request.on("end", () => {
      arrivals.push({ atMs: performance.now(), job: !text.includes("disk_id") });
      // Every third one hangs, the others answer late, up to just below the client's own timeout.
      if (arrivals.length % 3 === 0) return;
      setTimeout(() => response.end("{}"), (arrivals.length % 5) * 30);
    });
    response.on("close", () => open--);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as { port: number };
  const api = { url: `http://127.0.0.1:${address.port}` } as VmaApiLab;
  const { client } = clientFor(api, 300);
  await until("many updates", () => arrivals.length >= 36);
  const finished = client.finish({ status: "failed", errorMessage: "x" });
  const seen = arrivals.splice(0);
  await finished;
  server.close();
  server.closeAllConnections();

  const gaps = (times: number[]) => times.slice(1).map((time, i) => time - times[i]!);
  const all = gaps(seen.map((arrival) => arrival.atMs));
  const ofJob = gaps(seen.filter((arrival) => arrival.job).map((arrival) => arrival.atMs));
  for (const times of [all, ofJob]) {
    const sorted = times.toSorted((a, b) => a - b);
    const shown = times.map(Math.round).join(" ");
    assert.ok(sorted[Math.floor(times.length / 2)]! <= gapMsMax, shown);
    // A busy machine may stretch some of them.
    assert.ok(sorted[Math.floor(times.length * 0.9)]! <= gapMsMax * 1.5, shown);
  }
  assert.ok(openMax <= 2, `${openMax} at once`); // one closing, one opening
});

test("An API with 50 MB of answer is not read out", async () => {
  await using api = await startVmaApi();
  api.setFault({ kind: "huge", bytes: 50e6, stored: true });
  const { client } = clientFor(api, 500);
  await until("two rounds", () => api.updates.length >= 8);
  await client.finish({ status: "completed" });
  // The kernel's socket buffers take a few megabytes a connection, read or not.
  const perAnswer = api.sentBytes() / api.updates.length;
  assert.ok(perAnswer < 12e6, `${perAnswer} bytes of each answer were taken`);
});

test("A redirect is not followed, wherever it leads", async () => {
  await using other = await startVmaApi();
  await using api = await startVmaApi();
  const location = `${other.url}/api/v1/progress/${jobId}/update`;
  api.setFault({ kind: "redirect", location });
  const { client } = clientFor(api, 500);
  await client.finish({ status: "completed" });
  assert.equal(other.updates.length, 0);
});

test("A tracker that breaks stops the reports, not the run", async () => {
  await using api = await startVmaApi();
  const { logger, lines } = captureLogger();
  const client = new VmaClient({ baseUrl: api.url, jobId, logger, intervalMs: 10 });
  client.start(() => {
    throw new Error("broken");
  });
  await client.finish({ status: "completed" });
  assert.ok(lines.some((line) => line.level === 40));
});
