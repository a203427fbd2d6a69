/** Reads a job's progress back from the VMA API, for `migratekit status`. */
import { type ErrorCode, MigratekitError, messageOf } from "../../errors.ts";
import { VmaHttp } from "./http.ts";

export interface JobProgress {
  readonly jobId: string;
  /** `in_progress`, `completed` or `failed`; other words of other services are passed on. */
  readonly status: string;
  readonly syncType: string | undefined;
  readonly phase: string | undefined;
  readonly currentOperation: string | undefined;
  readonly percentage: number;
  readonly bytesTransferred: number;
  readonly totalBytes: number;
  /** Megabytes a second, as the service rounds them. */
  readonly currentMbps: number | undefined;
  readonly etaSeconds: number | undefined;
  readonly errorMessage: string | undefined;
  readonly disks: readonly JobDiskProgress[];
}

export interface JobDiskProgress {
  readonly diskId: string;
  readonly status: string | undefined;
  readonly syncType: string | undefined;
  readonly percentage: number;
  readonly bytesTransferred: number;
  readonly totalBytes: number;
  readonly throughputBps: number | undefined;
}

export interface FetchOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const disksMax = 10_000;

/**
 * One GET of `/api/v1/progress/{jobId}`.
 * @throws MigratekitError `usage` when the service does not know the job, `vma-unavailable` when it is
 *   away or answers with anything but a job; the signal's reason
 */
export async function fetchProgress(
  baseUrl: string,
  jobId: string,
  options: FetchOptions = {},
): Promise<JobProgress> {
  const http = new VmaHttp(baseUrl, jobId);
  const fail = (why: string, code: ErrorCode = "vma-unavailable", remedy?: string) =>
    new MigratekitError(
      code,
      `Reading the progress of job ${jobId} from the VMA API at ${baseUrl} failed: ${why}`,
      { context: { jobId, url: baseUrl }, ...(remedy === undefined ? {} : { remedy }) },
    );
  const answer = await http.get(options.timeoutMs ?? 5000, options.signal).catch((error) => {
    options.signal?.throwIfAborted();
    throw fail(messageOf(error));
  });
  if (answer.status === 404) {
    const remedy = "Check the job ID; the service forgets jobs at a restart.";
    throw fail("it knows no such job", "usage", remedy);
  }
  if (answer.status !== 200) throw fail(`it answered HTTP ${answer.status}`);
  const job = parseJob(answer.body, jobId);
  if (typeof job === "string") throw fail(job);
  return job;
}

/** The job, or what is wrong with the answer. */
function parseJob(body: string, jobId: string): JobProgress | string {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return "its answer is not JSON";
  }
  const job = new Fields(json);
  const status = job.text("status");
  if (status === undefined) return "its answer has no status";
  const disks = job.list("disk_progresses");
  if (disks.length > disksMax) return `its answer lists ${disks.length} disks`;
  return {
    jobId: job.text("job_id") ?? jobId,
    status,
    syncType: job.text("sync_type"),
    phase: job.text("phase"),
    currentOperation: job.text("current_operation"),
    percentage: percentage(job),
    bytesTransferred: job.count("bytes_transferred") ?? 0,
    totalBytes: job.count("total_bytes") ?? 0,
    currentMbps: new Fields(job.field("throughput")).count("current_mbps"),
    etaSeconds: new Fields(job.field("timing")).count("eta_seconds"),
    errorMessage: job.text("error_message"),
    disks: disks.map((disk) => parseDisk(new Fields(disk))),
  };
}

/** The contract names the list but not its fields; the words of the update and of the job both do. */
function parseDisk(disk: Fields): JobDiskProgress {
  return {
    diskId: disk.text("disk_id") ?? "disk",
    status: disk.text("status"),
    syncType: disk.text("sync_type"),
    percentage: percentage(disk),
    bytesTransferred: disk.count("bytes_transferred") ?? 0,
    totalBytes: disk.count("total_bytes") ?? 0,
    throughputBps: disk.count("throughput_bps"),
  };
}

function percentage(fields: Fields): number {
  return Math.min(100, fields.count("percentage") ?? fields.count("percent") ?? 0);
}

/** Reads an answer that may hold anything under any name. */
class Fields {
  readonly #object: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    this.#object = typeof value === "object" && value !== null ? { ...value } : {};
  }

  field(name: string): unknown {
    return this.#object[name];
  }

  /** One line without control characters: it ends up on a terminal. */
  text(name: string): string | undefined {
    const value = this.#object[name];
    if (typeof value !== "string" || value === "") return undefined;
    return value.replace(/\p{C}+/gu, " ").slice(0, 2000);
  }

  /** A number from 0 up. */
  count(name: string): number | undefined {
    const value = this.#object[name];
    return typeof value === "number" && value >= 0 ? value : undefined;
  }

  list(name: string): readonly unknown[] {
    const value = this.#object[name];
    return Array.isArray(value) ? value : [];
  }
}
