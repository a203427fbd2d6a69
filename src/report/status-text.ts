/** A job as the VMA API knows it, for people. */

import type { JobProgress } from "../progress/vma/status.ts";
import type { CutOver } from "../state/cut-over.ts";
import type { StoredConversion } from "../state/machine/conversions.ts";
import type { StoredRehearsal } from "../state/machine/rehearsals.ts";
import { formatBytesOf, formatDuration, formatRate } from "../text.ts";
import { cutOverText } from "./cut-over.ts";
import { ageText } from "./overview/overview-text.ts";
import { bar, type Sheet, table } from "./table.ts";

/** A job, and what is known here of its VM. */
export interface ShownJob extends JobProgress {
  readonly converted?: Pick<StoredConversion, "since" | "runId">;
  readonly cutOver?: CutOver;
  readonly rehearsed?: Pick<StoredRehearsal, "at" | "runId" | "verdict">;
}

/** What a line has besides the bar: name, percentage, bytes, rate and the space between. */
const textWidth = 62;

/** A line of facts, a row for each disk and one for all, the job's error; ends with a line break. */
export function statusText(job: ShownJob, sheet: Sheet): string {
  const { columns } = sheet;
  const width = Math.max(5, Math.min(40, (columns ?? 82) - textWidth));
  const row = (name: string, percent: number, bytes: string, bps: number | undefined) => [
    name,
    bar(percent, width, sheet),
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
    `${factsText(job)}\n${table(["disk", "", "done", "bytes", "rate"], rows, sheet)}` +
    (job.errorMessage ? `error: ${job.errorMessage}\n` : "")
  );
}

/** `job-1: in_progress, incremental, Transfer, 45.2 %, 1.2/3.0 GiB, 110 MiB/s, 2:13 left`. */
export function factsText(job: ShownJob): string {
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
    job.rehearsed && rehearsedText(job.rehearsed),
    job.converted && `converted at ${job.converted.since} (run ${job.converted.runId})`,
    job.cutOver && cutOverText(job.cutOver),
  ];
  return `${job.jobId}: ${facts.filter((fact) => fact !== undefined && fact !== "").join(", ")}`;
}

/** `rehearsed, boots, 4 d ago`. */
function rehearsedText({ verdict, at }: NonNullable<ShownJob["rehearsed"]>): string {
  return `rehearsed, ${verdict.replaceAll("-", " ")}, ${ageText(at, Date.now())}`;
}

/** The service speaks of megabytes, we of bytes. */
function rateOf(job: ShownJob): number | undefined {
  return job.currentMbps === undefined ? undefined : job.currentMbps * 1e6;
}

/** Rounded down: nothing looks done too soon. */
function percentText(percent: number): string {
  return `${(Math.floor(percent * 10) / 10).toFixed(percent >= 100 ? 0 : 1)} %`;
}
