/**
 * Stand-in of the VMA progress service: in memory, a job begins with its first update, disks are
 * added up by disk_id, an update without disk_id overwrites the job's totals. It believes what it is
 * told, like the real one, but notes every breach of the contract in `violations`.
 */
import { type ApiReply, type ApiRequest, type ApiServer, startApiServer } from "./api-server.ts";
import { checkUpdate } from "./vma-contract.ts";

export interface VmaUpdateBody {
  stage: string;
  status: string;
  bytes_transferred: number;
  total_bytes: number;
  throughput_bps: number;
  percent: number;
  disk_id?: string;
  sync_type?: string;
  sync_reason?: string;
  error_message?: string;
}

export interface RecordedUpdate {
  readonly jobId: string;
  /** On the `performance.now()` clock of this process. */
  readonly arrivedAtMs: number;
  readonly body: VmaUpdateBody;
}

export interface VmaDisk {
  readonly diskId: string;
  readonly syncType: string | undefined;
  readonly bytesTransferred: number;
  readonly totalBytes: number;
  readonly throughputBps: number;
  readonly percent: number;
  readonly status: string;
}

export interface VmaJob {
  readonly jobId: string;
  readonly startedAt: string;
  updatedAt: string;
  stage: string;
  status: string;
  syncType: string | undefined;
  errorMessage: string | undefined;
  bytesTransferred: number;
  totalBytes: number;
  throughputBps: number;
  percent: number;
  /** Of the newest job-level update, whatever the disks added up to since. */
  toldPercent: number;
  readonly disks: Map<string, VmaDisk>;
}

export interface VmaApiLab extends ApiServer {
  /** Every update that took effect, in its order. */
  readonly updates: readonly RecordedUpdate[];
  readonly jobs: ReadonlyMap<string, VmaJob>;
  /** Breaches of the contract, in words; a test demands that there are none. */
  readonly violations: readonly string[];
  updatesOf(jobId: string): RecordedUpdate[];
  /** The longest time without an update of this job, from its first to its last. */
  longestGapMs(jobId: string): number;
  /** Forgets everything, as a restart of the real service does. */
  clear(): void;
}

export async function startVmaApi(options: { port?: number } = {}): Promise<VmaApiLab> {
  const updates: RecordedUpdate[] = [];
  const jobs = new Map<string, VmaJob>();
  const violations: string[] = [];

  const update = (jobId: string, request: ApiRequest): ApiReply => {
    const body = parseObject(request.text);
    if (body === undefined) return { status: 400, body: { error: "the body is no JSON object" } };
    violations.push(...checkUpdate(body, jobs.get(jobId)).map((breach) => `${jobId}: ${breach}`));
    const accepted = body as unknown as VmaUpdateBody;
    updates.push({ jobId, arrivedAtMs: request.arrivedAtMs, body: accepted });
    const job = jobs.get(jobId) ?? newJob(jobId);
    jobs.set(jobId, job);
    apply(job, accepted);
    return { status: 200, body: { success: true } };
  };

  const server = await startApiServer((request) => {
    const [api, version, progress, jobId, action, ...rest] = request.path;
    const known = api === "api" && version === "v1" && progress === "progress" && jobId;
    if (!known || rest.length > 0) return notFound();
    if (request.method === "POST" && action === "update") return update(jobId, request);
    const job = jobs.get(jobId);
    if (request.method !== "GET" || action !== undefined || !job) return notFound();
    return { status: 200, body: jobAnswer(job) };
  }, options);

  const updatesOf = (jobId: string) => updates.filter((entry) => entry.jobId === jobId);
  return Object.assign(server, {
    updates,
    jobs,
    violations,
    updatesOf,
    longestGapMs(jobId: string) {
      const times = updatesOf(jobId).map((entry) => entry.arrivedAtMs);
      return Math.max(0, ...times.slice(1).map((time, i) => time - times[i]!));
    },
    clear() {
      updates.length = 0;
      violations.length = 0;
      jobs.clear();
    },
  });
}

function notFound(): ApiReply {
  return { status: 404, body: { error: "not found" } };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? { ...value }
      : undefined;
  } catch {
    return undefined;
  }
}

function newJob(jobId: string): VmaJob {
  const now = new Date().toISOString();
  return {
    jobId,
    startedAt: now,
    updatedAt: now,
    stage: "",
    status: "in_progress",
    syncType: undefined,
    errorMessage: undefined,
    bytesTransferred: 0,
    totalBytes: 0,
    throughputBps: 0,
    percent: 0,
    toldPercent: 0,
    disks: new Map(),
  };
}

function apply(job: VmaJob, body: VmaUpdateBody): void {
  job.updatedAt = new Date().toISOString();
  job.stage = body.stage;
  // Whoever says it, one disk of several included: that is what makes a premature end harmful.
  job.status = body.status;
  job.errorMessage = body.error_message ?? job.errorMessage;
  if (body.disk_id === undefined) {
    job.bytesTransferred = body.bytes_transferred;
    job.totalBytes = body.total_bytes;
    job.throughputBps = body.throughput_bps;
    job.percent = body.percent;
    job.toldPercent = body.percent;
    job.syncType = body.sync_type ?? job.syncType;
    return;
  }
  job.disks.set(body.disk_id, {
    diskId: body.disk_id,
    syncType: body.sync_type,
    bytesTransferred: body.bytes_transferred,
    totalBytes: body.total_bytes,
    throughputBps: body.throughput_bps,
    percent: body.percent,
    status: body.status,
  });
  job.syncType ??= body.sync_type;
  addUpDisks(job);
}

function addUpDisks(job: VmaJob): void {
  job.bytesTransferred = 0;
  job.totalBytes = 0;
  job.throughputBps = 0;
  for (const disk of job.disks.values()) {
    job.bytesTransferred += disk.bytesTransferred;
    job.totalBytes += disk.totalBytes;
    job.throughputBps += disk.throughputBps;
  }
  job.percent = job.totalBytes === 0 ? 0 : (job.bytesTransferred / job.totalBytes) * 100;
}

function jobAnswer(job: VmaJob) {
  const elapsedMs = Date.parse(job.updatedAt) - Date.parse(job.startedAt);
  const leftBytes = Math.max(0, job.totalBytes - job.bytesTransferred);
  return {
    job_id: job.jobId,
    status: job.status,
    sync_type: job.syncType ?? "",
    phase: job.stage,
    percentage: job.percent,
    current_operation: job.stage,
    bytes_transferred: job.bytesTransferred,
    total_bytes: job.totalBytes,
    error_message: job.errorMessage ?? "",
    throughput: {
      current_mbps: job.throughputBps / 1e6,
      average_mbps: elapsedMs > 0 ? job.bytesTransferred / 1e3 / elapsedMs : 0,
    },
    timing: {
      started_at: job.startedAt,
      updated_at: job.updatedAt,
      elapsed_seconds: elapsedMs / 1000,
      eta_seconds: job.throughputBps > 0 ? Math.round(leftBytes / job.throughputBps) : 0,
    },
    disk_progresses: [...job.disks.values()].map((disk) => ({
      disk_id: disk.diskId,
      sync_type: disk.syncType ?? "",
      status: disk.status,
      bytes_transferred: disk.bytesTransferred,
      total_bytes: disk.totalBytes,
      throughput_bps: disk.throughputBps,
      percentage: disk.percent,
    })),
  };
}
