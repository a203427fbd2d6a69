/** Jobs: what CloudStack makes of a write. They fail, hang, and are gone after a restart. */

import type { Logger } from "pino";
import { pause } from "../../retry.ts";
import { type Fields, isFields } from "./answer.ts";
import { ApiFault, LostAnswer } from "./faults.ts";

export interface JobContext {
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
  /** Between two questions. */
  readonly pollMs: number;
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
  const startedMs = performance.now();
  let toldMs = startedMs;
  for (;;) {
    const { jobstatus, jobresult } = await context.ask(id).catch((error: unknown) => {
      if (error instanceof ApiFault && [430, 431].includes(error.errorCode))
        throw new LostAnswer(command, `CloudStack does not know its job ${id} any more`, 0);
      throw error;
    });
    if (jobstatus === 1) return;
    if (jobstatus === 2) throw failureOf(command, jobresult);
    const nowMs = performance.now();
    if (nowMs - startedMs >= deadlineMs) {
      const waited = `${Math.round(deadlineMs / 1000)} s`;
      throw new LostAnswer(command, `its job ${id} did not end within ${waited}`, 0);
    }
    if (nowMs - toldMs >= tellEveryMs) {
      toldMs = nowMs;
      const seconds = Math.round((nowMs - startedMs) / 1000);
      logger.info({ job: id, seconds }, `waiting for CloudStack to ${what}`);
    }
    await pause(context.pollMs, signal);
  }
}

const tellEveryMs = 15_000;

function failureOf(command: string, result: unknown): Error {
  const { errorcode, errortext } = isFields(result) ? result : {};
  const text = typeof errortext === "string" ? errortext : "";
  // As a management server ends, in its own restart, the jobs that it was at.
  if (!isFields(result) || /management server (restart|shutdown)/i.test(text))
    return new LostAnswer(command, "its job broke off with the management server", 0);
  return new ApiFault(command, typeof errorcode === "number" ? errorcode : 530, text, true);
}
