/** The last update of a job: it has to arrive, and it may arrive only once. */
import { setTimeout as sleep } from "node:timers/promises";
import type { PostOutcome, VmaHttp } from "./http.ts";
import type { VmaUpdate } from "./update.ts";

const pauseMs = 400;
const readTimeoutMs = 1500;

/**
 * Posts `update` until the service took it or `timeoutMs` is over. A POST that got no answer may have
 * arrived all the same; then the service is asked first whether the job has ended, so that a slow one
 * does not see two ends.
 */
export async function deliverOnce(
  http: VmaHttp,
  update: VmaUpdate,
  timeoutMs: number,
): Promise<PostOutcome> {
  const deadlineMs = performance.now() + timeoutMs;
  const leftMs = () => deadlineMs - performance.now();
  let outcome: PostOutcome = { kind: "unreachable", reason: "no time was left to send it" };
  while (leftMs() > 0) {
    // A slow answer is waited for generously: asking again is what makes doubles.
    outcome = await http.post(
      update,
      Math.ceil(Math.max(leftMs() * 0.6, Math.min(leftMs(), 2000))),
    );
    if (outcome.kind === "accepted") return outcome;
    if (outcome.kind !== "unreachable") {
      const ended = await hasEnded(http, update.status, leftMs);
      if (ended === true) return { kind: "accepted" };
      if (ended === undefined) return outcome;
    }
    if (leftMs() > 0) await sleep(Math.min(pauseMs, leftMs()));
  }
  return outcome;
}

/** Whether the service has this end on record; undefined: it never answered in the time left. */
async function hasEnded(
  http: VmaHttp,
  status: VmaUpdate["status"],
  leftMs: () => number,
): Promise<boolean | undefined> {
  while (leftMs() > 0) {
    try {
      const answer = await http.get(Math.ceil(Math.min(readTimeoutMs, leftMs())));
      return answer.status === 200 && statusIn(answer.body) === status;
    } catch {
      // Without an answer nothing is known, and posting again could make a second end.
      if (leftMs() > 0) await sleep(Math.min(pauseMs, leftMs()));
    }
  }
  return undefined;
}

function statusIn(body: string): unknown {
  try {
    const job: unknown = JSON.parse(body);
    return typeof job === "object" && job !== null && "status" in job ? job.status : undefined;
  } catch {
    return undefined;
  }
}
