/** Jobs: what CloudStack makes of a write. They fail, hang, and are gone after a restart. */

import type { Logger } from "pino";
import { pause } from "../../retry.ts";
import { type Fields, isFields } from "./answer.ts";
import { ApiFault, LostAnswer } from "./faults.ts";

export interface JobContext {
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
  /** Between two questions, at most. */
  readonly pollMs: number;
  /** How long a host may go on with what its management server has forgotten. */
  readonly settleMs: number;
  readonly ask: (jobId: string) => Promise<Fields>;
}

/**
 * The job's end. `what` is told while it lasts.
 * @throws ApiFault when it failed; LostAnswer when it is unknown, broke off with the management server, or did
 *   not end within `deadlineMs`; the signal's reason
 */
export async function awaitJob(
  context: JobContext,
  job: { command: string; id: string; what: string; deadlineMs: number },
): Promise<void> {
  const { logger, signal } = context;
  const { command, id, what, deadlineMs } = job;
  const lost = (why: string) => new LostAnswer(command, why, Date.now() + context.settleMs);
  const startedMs = performance.now();
  let toldMs = startedMs;
  // A machine may be down meanwhile, and most jobs are short.
  let pauseMs = firstPauseMs;
  for (;;) {
    const { jobstatus, jobresult } = await context.ask(id).catch((error: unknown) => {
      if (error instanceof ApiFault && [430, 431].includes(error.errorCode))
        throw lost(`CloudStack does not know its job ${id} any more`);
      throw error;
    });
    if (jobstatus === 1) return;
    if (jobstatus === 2 && brokeOff(jobresult))
      throw lost("its job broke off with the management server");
    if (jobstatus === 2) throw failureOf(command, jobresult);
    const nowMs = performance.now();
    if (nowMs - startedMs >= deadlineMs) {
      const waited = `${Math.round(deadlineMs / 1000)} s`;
      throw new LostAnswer(command, `its job ${id} did not end within ${waited}`, Infinity);
    }
    if (nowMs - toldMs >= tellEveryMs) {
      toldMs = nowMs;
      const seconds = Math.round((nowMs - startedMs) / 1000);
      logger.info({ job: id, seconds }, `waiting for CloudStack to ${what}`);
    }
    await pause(Math.min(pauseMs, context.pollMs), signal);
    pauseMs *= 2;
  }
}

const firstPauseMs = 100;
const tellEveryMs = 15_000;

/** As a management server ends, in its own restart, the jobs that it was at. */
function brokeOff(result: unknown): boolean {
  if (!isFields(result)) return true;
  return /management server (restart|shutdown)/i.test(String(result.errortext ?? ""));
}

function failureOf(command: string, result: unknown): ApiFault {
  const { errorcode, errortext } = isFields(result) ? result : {};
  const text = typeof errortext === "string" ? errortext : "";
  return new ApiFault(command, typeof errorcode === "number" ? errorcode : 530, text, true);
}
