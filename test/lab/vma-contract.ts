/** The contract of progress updates as checks, written from its text and from nothing in src/. */
import type { VmaJob } from "./vma-api.ts";

const stages = new Set([
  "Discover",
  "EnableCBT",
  "Snapshot",
  "QueryCBT",
  "StartExports",
  "Transfer",
  "Finalize",
  "PersistChangeIDs",
  "Complete",
]);
const fields = new Set([
  "stage",
  "status",
  "bytes_transferred",
  "total_bytes",
  "throughput_bps",
  "percent",
  "disk_id",
  "sync_type",
  "sync_reason",
  "error_message",
  // Additions to the last update: what the closing summary says.
  "read_bytes",
  "written_bytes",
  "zeroed_bytes",
  "unchanged_bytes",
  "compared_bytes",
  "rate_bps",
  "verification",
  "snapshot",
  "journal_bytes",
  "exit_code",
  "next",
]);
const ends = new Set(["completed", "failed"]);

/** What is wrong with an update of this job, as it stands before the update. */
export function checkUpdate(body: Record<string, unknown>, job: VmaJob | undefined): string[] {
  return [...checkFields(body), ...checkHistory(body, job)];
}

function checkFields(body: Record<string, unknown>): string[] {
  const breaches: string[] = [];
  const demand = (right: boolean, breach: string) => {
    if (!right) breaches.push(breach);
  };
  for (const name of Object.keys(body)) demand(fields.has(name), `unknown field ${name}`);
  demand(stages.has(String(body.stage)), `unknown stage ${body.stage}`);
  demand(
    body.status === "in_progress" || ends.has(String(body.status)),
    `unknown status ${body.status}`,
  );
  for (const name of ["bytes_transferred", "total_bytes", "throughput_bps"]) {
    const value = body[name];
    demand(Number.isSafeInteger(value) && Number(value) >= 0, `${name} is ${value}`);
  }
  const percent = body.percent;
  demand(typeof percent === "number" && percent >= 0 && percent <= 100, `percent is ${percent}`);
  demand(Number(body.bytes_transferred) <= Number(body.total_bytes), "more bytes than planned");
  const { disk_id: diskId, sync_type: syncType } = body;
  demand(diskId === undefined || /^disk-\d+$/.test(String(diskId)), `disk_id is ${diskId}`);
  demand(
    syncType === undefined || syncType === "full" || syncType === "incremental",
    `sync_type is ${syncType}`,
  );
  demand(
    (body.status === "failed") === (typeof body.error_message === "string"),
    `error_message with status ${body.status}`,
  );
  return breaches;
}

function checkHistory(body: Record<string, unknown>, job: VmaJob | undefined): string[] {
  const breaches: string[] = [];
  const end = ends.has(String(body.status));
  if (end && body.disk_id !== undefined) breaches.push(`${body.status} for one disk`);
  if (!end && body.disk_id === undefined && Number(body.percent) >= 100)
    breaches.push("100 % before the end");
  if (body.status === "completed" && body.percent !== 100) breaches.push("completed below 100 %");
  if (job === undefined) return breaches;
  if (ends.has(job.status)) breaches.push(`an update (${body.status}) after ${job.status}`);
  const before = typeof body.disk_id === "string" ? job.disks.get(body.disk_id) : undefined;
  if (before !== undefined && Number(body.percent) < before.percent)
    breaches.push(`${body.disk_id} went back from ${before.percent} to ${body.percent} %`);
  if (body.disk_id === undefined && Number(body.percent) < job.toldPercent)
    breaches.push(`the job went back from ${job.toldPercent} to ${body.percent} %`);
  if (body.disk_id === undefined && end) {
    const sums = [...job.disks.values()];
    const total = sums.reduce((sum, disk) => sum + disk.totalBytes, 0);
    if (sums.length > 0 && total !== body.total_bytes)
      breaches.push(`the last update's total is ${body.total_bytes}, the disks' sum ${total}`);
  }
  return breaches;
}
