import { setTimeout as sleep } from "node:timers/promises";
import { exitCodes, MigratekitError } from "../errors.ts";
import { formatBytesOf, formatDuration, formatRate } from "../progress/format.ts";
import { fetchProgress, type JobProgress } from "../progress/vma-status.ts";
import type { CommandContext } from "./context.ts";
import { bar, printJson, table } from "./output.ts";

const watchIntervalMs = 2000;

/** `migratekit status [JOB]`: a job as the VMA API knows it. */
export async function run(context: CommandContext): Promise<number> {
  const { config, operands, signal } = context;
  const jobId = operands[0] ?? config.jobId;
  if (jobId === undefined) {
    throw new MigratekitError("usage", "status needs a job", {
      remedy: "Give it as the argument or in MIGRATEKIT_PROGRESS_JOB_ID.",
    });
  }
  for (;;) {
    const job = await fetchProgress(config.vmaUrl, jobId, { signal });
    if (config.json) printJson(job);
    else process.stdout.write(statusText(job, config.watch && process.stdout.isTTY));
    if (!config.watch || job.status !== "in_progress") return exitCodes.success;
    await sleep(watchIntervalMs, undefined, { signal });
  }
}

const clearScreen = "\u001b[2J\u001b[H";

function statusText(job: JobProgress, redraw: boolean): string {
  const facts = [
    job.status,
    job.syncType,
    job.phase,
    job.currentOperation === job.phase ? undefined : job.currentOperation,
    job.currentMbps === undefined ? undefined : `${job.currentMbps} MB/s`,
    job.etaSeconds === undefined ? undefined : `${formatDuration(job.etaSeconds)} left`,
  ].filter((fact) => fact !== undefined && fact !== "");
  const rows = [
    ...job.disks.map((disk) => [
      disk.diskId,
      bar(disk.percentage),
      `${disk.percentage} %`,
      formatBytesOf(disk.bytesTransferred, disk.totalBytes),
      disk.throughputBps ? formatRate(disk.throughputBps) : "",
    ]),
    [
      "total",
      bar(job.percentage),
      `${job.percentage} %`,
      formatBytesOf(job.bytesTransferred, job.totalBytes),
      "",
    ],
  ];
  return (
    `${redraw ? clearScreen : ""}${job.jobId}: ${facts.join(", ")}\n` +
    table(["disk", "", "done", "bytes", "rate"], rows) +
    (job.errorMessage ? `error: ${job.errorMessage}\n` : "")
  );
}
