// The clients of the VMA and OMA APIs against mutated answers: no client ever throws anything
// untyped, takes longer than it was given, follows a redirect or believes nonsense.

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { pino } from "pino";
import { isChangeId } from "../../src/change-id.ts";
import { MigratekitError } from "../../src/errors.ts";
import { OmaApi } from "../../src/oma/oma.ts";
import { ProgressTracker } from "../../src/progress/progress.ts";
import { VmaHttp } from "../../src/progress/vma/http.ts";
import { fetchProgress } from "../../src/progress/vma/status.ts";
import { VmaClient } from "../../src/progress/vma/vma.ts";
import { Random } from "../random.ts";
import { type FuzzRun, inTime, type Outcome } from "./campaign.ts";
import { type GoodAnswer, mischievousAnswer, whole } from "./http-mischief.ts";
import { startRawServer } from "./http-server.ts";

const runTimeoutMs = 30_000;
const requestTimeoutMs = 400;
const changeId = "52 de c0 d9 1a 2b 3c 4d-6e a2 00 11 22 33 44 08/7";
const json = { "Content-Type": "application/json" };

const job: GoodAnswer = {
  status: 200,
  headers: json,
  body: JSON.stringify({
    job_id: "j",
    status: "in_progress",
    sync_type: "full",
    phase: "Transfer",
    percentage: 42.5,
    current_operation: "Transfer",
    bytes_transferred: 425,
    total_bytes: 1000,
    throughput: { current_mbps: 12.5 },
    timing: { eta_seconds: 30 },
    disk_progresses: [
      { disk_id: "disk-2000", percentage: 42.5, bytes_transferred: 425, total_bytes: 1000 },
    ],
  }),
};
const stored: GoodAnswer = {
  status: 200,
  headers: json,
  body: JSON.stringify({ change_id: changeId }),
};
const accepted: GoodAnswer = { status: 200, headers: json, body: '{"status":"ok"}' };

interface Api {
  readonly good: GoodAnswer;
  use(url: string): Promise<unknown>;
}

const apis: Record<"vma" | "oma", readonly Api[]> = {
  vma: [
    {
      good: job,
      async use(url) {
        const progress = await fetchProgress(url, "j", { timeoutMs: requestTimeoutMs });
        for (const number of [progress.percentage, progress.bytesTransferred, progress.totalBytes])
          assert.ok(Number.isFinite(number), inspect(progress));
        assert.equal(typeof progress.status, "string");
        for (const disk of progress.disks) assert.equal(typeof disk.diskId, "string");
      },
    },
    {
      good: accepted,
      async use(url) {
        const outcome = await new VmaHttp(url, "j").post({ stage: "Transfer" }, requestTimeoutMs);
        assert.ok(["accepted", "refused", "unreachable", "unanswered"].includes(outcome.kind));
      },
    },
    {
      good: accepted,
      async use(url) {
        const tracker = new ProgressTracker();
        const client = new VmaClient({
          baseUrl: url,
          jobId: "j",
          logger: pino({ level: "silent" }),
          intervalMs: 20,
          requestTimeoutMs: 50,
          finishTimeoutMs: 200,
        });
        client.start(() => tracker.snapshot());
        tracker.setStage("Transfer");
        client.stageChanged();
        await client.finish({ status: "completed" });
      },
    },
  ],
  oma: [
    {
      good: stored,
      async use(url) {
        const found = await omaAt(url).readChangeId("/DC/vm/VM", 2000);
        assert.ok(found === undefined || isChangeId(found), found);
      },
    },
    {
      good: accepted,
      async use(url) {
        await omaAt(url).storeChangeId("j", { deviceKey: 2000, changeId });
      },
    },
  ],
};

function omaAt(baseUrl: string) {
  return new OmaApi({ baseUrl, requestTimeoutMs, attempts: 2, firstDelayMs: 1 });
}

export interface ApiFuzz extends AsyncDisposable {
  readonly run: FuzzRun;
}

export async function startApiFuzz(which: "vma" | "oma"): Promise<ApiFuzz> {
  let visits = 0;
  const trap = await startRawServer(() => {
    visits += 1;
    return { bytes: Buffer.alloc(0), after: "close" };
  });
  return {
    run: async (index, seed) => {
      const random = new Random(seed * 1_000_003 + index);
      const api = random.pick(apis[which]);
      const probability = random.pick([0.2, 0.7, 1]);
      const trapUrl = `http://127.0.0.1:${trap.port}/`;
      await using server = await startRawServer(() =>
        random.chance(probability)
          ? mischievousAnswer(api.good, "json", random, trapUrl)
          : whole(api.good),
      );
      const outcome = await inTime(attempt(api, `http://127.0.0.1:${server.port}`), runTimeoutMs);
      assert.equal(visits, 0, "a redirect was followed");
      return outcome;
    },
    [Symbol.asyncDispose]: () => trap[Symbol.asyncDispose](),
  };
}

async function attempt(api: Api, url: string): Promise<Outcome> {
  try {
    await api.use(url);
    return "value";
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.ok(error.message.length < 1_000);
    return "error";
  }
}
