import { setTimeout as sleep } from "node:timers/promises";
import { exitCodes, MigratekitError } from "../errors.ts";
import { fetchProgress, type JobProgress } from "../progress/vma/status.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";
import { statusDocument } from "../report/json/status.ts";
import { factsText, statusText } from "../report/status-text.ts";
import { sheetOf } from "../report/table.ts";

const watchIntervalMs = 2000;
/** Of `--watch`, in a row: a service that restarts is waited for. */
const failuresMax = 5;

/** `migratekit status [JOB]`: a job as the VMA API knows it. */
export async function run(context: CommandContext): Promise<number> {
  const { config, operands } = context;
  const jobId = operands[0] ?? config.jobId;
  if (jobId === undefined) {
    throw new MigratekitError("usage", "status needs a job", {
      remedy: "Give it as the argument or in MIGRATEKIT_PROGRESS_JOB_ID.",
    });
  }
  if (config.watch) await watch(context, jobId);
  else show(context, await fetchProgress(config.vmaUrl, jobId, { signal: context.signal }));
  return exitCodes.success;
}

/**
 * Follows the job to its end. The first answer must come; after that the service may be away.
 * @throws MigratekitError `job-failed` for an end that is not `completed`, and as `fetchProgress`
 */
async function watch(context: CommandContext, jobId: string): Promise<void> {
  const { config, signal, logger } = context;
  const screen = new Screen();
  let failures = 0;
  let seen: JobProgress | undefined;
  for (;;) {
    try {
      seen = await fetchProgress(config.vmaUrl, jobId, { signal });
      failures = 0;
      if (config.json || !process.stdout.isTTY || !config.cursor) show(context, seen, screen);
      else screen.redraw(statusText(seen, sheetOf(config)));
    } catch (error) {
      signal.throwIfAborted();
      if (seen === undefined || ++failures >= failuresMax) throw error;
      logger.warn(`${error instanceof Error ? error.message : error}; asking again`);
    }
    if (seen.status === "completed") return;
    if (seen.status !== "in_progress") {
      const why = seen.errorMessage ?? "the VMA API does not say why";
      throw new MigratekitError("job-failed", `${jobId} ended as ${seen.status}: ${why}`);
    }
    await sleep(watchIntervalMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** In a pipe and on a dumb terminal, `--watch` writes a line when something changed. */
function show({ config }: CommandContext, job: JobProgress, watching?: Screen): void {
  if (config.json) printJson(statusDocument(job));
  else if (watching) watching.line(factsText(job));
  else process.stdout.write(statusText(job, sheetOf(config)));
}

class Screen {
  #last = "";
  #begun = false;

  line(text: string): void {
    if (text !== this.#last) process.stdout.write(`${text}\n`);
    this.#last = text;
  }

  /** Over what stands there, so that nothing flickers. */
  redraw(text: string): void {
    const lines = text.replaceAll("\n", "\u001b[K\n");
    process.stdout.write(`${this.#begun ? "\u001b[H" : "\u001b[2J\u001b[H"}${lines}\u001b[J`);
    this.#begun = true;
  }
}
