// What arrived at the VMA API during the demonstration, and what the poller made of it.

import { dim, table } from "./demo-report.ts";
import type { Lab } from "./start-lab.ts";

const samplesMax = 6;

/** Job-level updates while disks were copied, thinned out to a few. */
function samples(lab: Lab, jobId: string): string[] {
  const updates = lab.vma.updatesOf(jobId);
  const start = updates[0]?.arrivedAtMs ?? 0;
  const lines = updates
    .filter(({ body }) => body.disk_id === undefined)
    .map(({ arrivedAtMs, body }) => {
      const seconds = ((arrivedAtMs - start) / 1000).toFixed(1).padStart(5);
      const percent = `${Math.round(body.percent)}`.padStart(3);
      return `${seconds} s  ${body.stage.padEnd(16)} ${percent} %  ${body.status}`;
    });
  if (lines.length <= samplesMax) return lines;
  const step = (lines.length - 1) / (samplesMax - 1);
  return Array.from({ length: samplesMax }, (_, index) => lines[Math.round(index * step)]!);
}

export function vmaReport(lab: Lab, jobIds: string[]): string {
  const parts: string[] = [];
  const rows: string[][] = [];
  for (const jobId of jobIds) {
    const updates = lab.vma.updatesOf(jobId);
    const perDisk = updates.filter(({ body }) => body.disk_id !== undefined).length;
    const gap = (lab.vma.longestGapMs(jobId) / 1000).toFixed(1);
    parts.push(
      `  ${jobId}: ${updates.length} updates, ${perDisk} of them for single disks, at most ${gap} s apart`,
      ...samples(lab, jobId).map((line) => dim(`    ${line}`)),
    );
    const job = lab.poller.job(jobId);
    rows.push([
      jobId,
      job?.status ?? "unknown",
      job?.sync_type ?? "",
      `${Math.round(job?.progress_percent ?? 0)} %`,
      String(job?.bytes_transferred ?? 0),
    ]);
  }
  const headings = ["replication_jobs", "status", "sync_type", "progress", "bytes_transferred"];
  return `${parts.join("\n")}\n\n${table(headings, rows)}`;
}
