/** The last update of a job: it has to arrive, and it may arrive only once. */
import { retry } from "../../retry.ts";
import type { PostOutcome, VmaHttp } from "./http.ts";
import type { VmaUpdate } from "./update.ts";

const pauseMs = 400;
const readTimeoutMs = 1500;

/** Carries an outcome after which the update may be posted again. */
class NotTaken extends Error {
  readonly outcome: PostOutcome;

  constructor(outcome: PostOutcome) {
    super(outcome.kind);
    this.outcome = outcome;
  }
}

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
  const policy = {
    limitMs: timeoutMs,
    firstPauseMs: pauseMs,
    pauseMsMax: pauseMs,
    isPassing: () => leftMs() > pauseMs,
  };
  const deliver = async () => {
    // A slow answer is waited for generously: asking again is what makes doubles.
    const postTimeoutMs = Math.max(leftMs() * 0.6, Math.min(leftMs(), 2000));
    const outcome = await http.post(update, Math.ceil(postTimeoutMs));
    if (outcome.kind === "accepted") return outcome;
    if (outcome.kind === "unreachable") throw new NotTaken(outcome);
    // Without an answer nothing is known, and posting again could make a second end.
    if (leftMs() <= 0) return outcome;
    const read = () => http.get(Math.ceil(Math.min(readTimeoutMs, leftMs())));
    const answer = await retry(read, policy).catch(() => undefined);
    if (answer === undefined) return outcome;
    if (answer.status === 200 && statusIn(answer.body) === update.status)
      return { kind: "accepted" } as const;
    throw new NotTaken(outcome);
  };
  return await retry(deliver, policy).catch((error: unknown) => {
    if (error instanceof NotTaken) return error.outcome;
    throw error;
  });
}

function statusIn(body: string): unknown {
  try {
    const job: unknown = JSON.parse(body);
    return typeof job === "object" && job !== null && "status" in job ? job.status : undefined;
  } catch {
    return undefined;
  }
}
