import { setTimeout as sleep } from "node:timers/promises";
import { exitCodes, MigratekitError } from "../errors.ts";
import { formatBytesOf, formatDuration, formatRate } from "../progress/format.ts";
import { fetchProgress, type JobProgress } from "../progress/vma/status.ts";
import type { CommandContext } from "../report/context.ts";
import { bar, printJson, table, terminalColumns } from "../report/output.ts";

const watchIntervalMs = 2000;
/** Of `--watch`, in a row: a service that restarts is waited for. */
const failuresMax = 5;
/** What a line has besides the bar: name, percentage, bytes, rate and the space between. */
const textWidth = 62;

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

/** Follows the job to its end. The first answer must come; after that the service may be away. */
async function watch(context: CommandContext, jobId: string): Promise<void> {
  const { config, signal, logger } = context;
  const screen = new Screen();
  let failures = 0;
  let seen: JobProgress | undefined;
  for (;;) {
    try {
      seen = await fetchProgress(config.vmaUrl, jobId, { signal });
      failures = 0;
      if (config.json || !process.stdout.isTTY) show(context, seen, screen);
      else screen.redraw(statusText(seen));
    } catch (error) {
      signal.throwIfAborted();
      if (seen === undefined || ++failures >= failuresMax) throw error;
      logger.warn(`${error instanceof Error ? error.message : error}; asking again`);
    }
    if (seen.status !== "in_progress") return;
    await sleep(watchIntervalMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** In a pipe, `--watch` writes a line when something changed. */
function show(context: CommandContext, job: JobProgress, watching?: Screen): void {
  if (context.config.json) printJson(job);
  else if (watching) watching.line(factsText(job));
  else process.stdout.write(statusText(job));
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

function statusText(job: JobProgress): string {
  const columns = terminalColumns();
  const width = Math.max(5, Math.min(40, (columns ?? 82) - textWidth));
  const row = (name: string, percent: number, bytes: string, bps: number | undefined) => [
    name,
    bar(percent, width),
    percentText(percent),
    bytes,
    bps ? formatRate(bps) : "",
  ];
  const rows = [
    ...job.disks.map((disk) =>
      row(
        disk.diskId,
        disk.percentage,
        formatBytesOf(disk.bytesTransferred, disk.totalBytes),
        disk.throughputBps,
      ),
    ),
    row("total", job.percentage, formatBytesOf(job.bytesTransferred, job.totalBytes), rateOf(job)),
  ];
  return (
    `${factsText(job)}\n${table(["disk", "", "done", "bytes", "rate"], rows, columns)}` +
    (job.errorMessage ? `error: ${job.errorMessage}\n` : "")
  );
}

/** `job-1: in_progress, incremental, Transfer, 45.2 %, 1.2/3.0 GiB, 110 MiB/s, 2:13 left`. */
function factsText(job: JobProgress): string {
  const underway = job.status === "in_progress";
  const rate = rateOf(job);
  const facts = [
    job.status,
    job.syncType,
    job.phase,
    job.currentOperation === job.phase ? undefined : job.currentOperation,
    percentText(job.percentage),
    job.totalBytes > 0 ? formatBytesOf(job.bytesTransferred, job.totalBytes) : undefined,
    underway && rate ? formatRate(rate) : undefined,
    underway && job.etaSeconds ? `${formatDuration(job.etaSeconds)} left` : undefined,
  ];
  return `${job.jobId}: ${facts.filter((fact) => fact !== undefined && fact !== "").join(", ")}`;
}

/** The service speaks of megabytes, we of bytes. */
function rateOf(job: JobProgress): number | undefined {
  return job.currentMbps === undefined ? undefined : job.currentMbps * 1e6;
}

/** Rounded down: nothing looks done too soon. */
function percentText(percent: number): string {
  return `${(Math.floor(percent * 10) / 10).toFixed(percent >= 100 ? 0 : 1)} %`;
}
