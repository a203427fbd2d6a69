/**
 * Stand-in of the OMA progress poller, the last hop: reads every open job from the VMA progress API
 * and keeps the `replication_jobs` and `vm_disks` tables. It closes a job on the first `completed` or
 * `failed` that it sees and never looks at it again.
 */
import { DatabaseSync } from "node:sqlite";

export interface PollerOptions {
  /** `http://127.0.0.1:PORT` of the VMA API. */
  readonly vmaUrl: string;
  /** SQLite file; absent: in memory. */
  readonly databasePath?: string;
  /** 30 s in reality. [1000] */
  readonly intervalMs?: number;
  /** Jobs that turn up on their own; the real one finds them in its table. */
  readonly discoverJobs?: () => Iterable<string>;
}

export interface JobRow {
  readonly id: string;
  readonly status: string;
  readonly sync_type: string;
  readonly current_operation: string;
  readonly progress_percent: number;
  readonly bytes_transferred: number;
  readonly total_bytes: number;
  readonly throughput_mbps: number;
  readonly error_message: string;
  readonly polls: number;
  readonly completed_at: string | null;
}

export interface DiskRow {
  readonly job_id: string;
  readonly disk_id: string;
  readonly status: string;
  readonly bytes_transferred: number;
  readonly total_bytes: number;
  readonly progress_percent: number;
}

export interface PollerLab extends AsyncDisposable {
  /** Opens a row, so that the job is polled from now on. */
  addJob(jobId: string): void;
  job(jobId: string): JobRow | undefined;
  disks(jobId: string): DiskRow[];
  /** One round now, apart from the timer. */
  poll(): Promise<void>;
  stop(): Promise<void>;
}

const schema = `
  CREATE TABLE IF NOT EXISTS replication_jobs (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL DEFAULT 'pending',
    sync_type TEXT NOT NULL DEFAULT '',
    current_operation TEXT NOT NULL DEFAULT '',
    progress_percent REAL NOT NULL DEFAULT 0,
    bytes_transferred INTEGER NOT NULL DEFAULT 0,
    total_bytes INTEGER NOT NULL DEFAULT 0,
    throughput_mbps REAL NOT NULL DEFAULT 0,
    error_message TEXT NOT NULL DEFAULT '',
    polls INTEGER NOT NULL DEFAULT 0,
    completed_at TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS vm_disks (
    job_id TEXT NOT NULL REFERENCES replication_jobs (id),
    disk_id TEXT NOT NULL,
    status TEXT NOT NULL,
    bytes_transferred INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL,
    progress_percent REAL NOT NULL,
    PRIMARY KEY (job_id, disk_id)
  ) STRICT;`;

/** The part of the API's answer that the tables are made from. */
interface JobAnswer {
  status: string;
  sync_type: string;
  percentage: number;
  current_operation: string;
  bytes_transferred: number;
  total_bytes: number;
  error_message?: string;
  throughput: { current_mbps: number };
  disk_progresses: {
    disk_id: string;
    status: string;
    bytes_transferred: number;
    total_bytes: number;
    percentage: number;
  }[];
}

export async function startPoller(options: PollerOptions): Promise<PollerLab> {
  const database = new DatabaseSync(options.databasePath ?? ":memory:");
  database.exec(schema);
  let round: Promise<void> = Promise.resolve();
  let stopped = false;

  const addJob = (jobId: string): void => {
    database.prepare("INSERT OR IGNORE INTO replication_jobs (id) VALUES (?)").run(jobId);
  };
  const pollAll = async (): Promise<void> => {
    for (const jobId of options.discoverJobs?.() ?? []) addJob(jobId);
    const open = database
      .prepare("SELECT id FROM replication_jobs WHERE completed_at IS NULL")
      .all() as { id: string }[];
    for (const { id } of open) {
      const answer = await readJob(options.vmaUrl, id);
      if (answer !== undefined && !stopped) store(database, id, answer);
    }
  };
  /** One round after the other, never two at once. */
  const poll = (): Promise<void> => {
    round = round.then(() => (stopped ? undefined : pollAll()));
    return round;
  };
  const timer = setInterval(() => void poll(), options.intervalMs ?? 1000);

  const stop = async (): Promise<void> => {
    if (stopped) return;
    clearInterval(timer);
    stopped = true;
    await round;
    database.close();
  };
  return {
    addJob,
    poll,
    job: (jobId) =>
      database.prepare("SELECT * FROM replication_jobs WHERE id = ?").get(jobId) as
        | JobRow
        | undefined,
    disks: (jobId) =>
      database
        .prepare("SELECT * FROM vm_disks WHERE job_id = ? ORDER BY disk_id")
        .all(jobId) as unknown as DiskRow[],
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Undefined when the API is away or does not know the job (yet). */
async function readJob(vmaUrl: string, jobId: string): Promise<JobAnswer | undefined> {
  try {
    const url = `${vmaUrl}/api/v1/progress/${encodeURIComponent(jobId)}`;
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    return response.ok ? ((await response.json()) as JobAnswer) : undefined;
  } catch {
    return undefined;
  }
}

function store(database: DatabaseSync, jobId: string, answer: JobAnswer): void {
  const over = answer.status === "completed" || answer.status === "failed";
  database.exec("BEGIN");
  database
    .prepare(
      `UPDATE replication_jobs SET status = ?, sync_type = ?, current_operation = ?,
         progress_percent = ?, bytes_transferred = ?, total_bytes = ?, throughput_mbps = ?,
         error_message = ?, polls = polls + 1, completed_at = ? WHERE id = ?`,
    )
    .run(
      over ? answer.status : "replicating",
      answer.sync_type,
      answer.current_operation,
      answer.percentage,
      answer.bytes_transferred,
      answer.total_bytes,
      answer.throughput.current_mbps,
      answer.error_message ?? "",
      over ? new Date().toISOString() : null,
      jobId,
    );
  const upsert = database.prepare(
    `INSERT OR REPLACE INTO vm_disks
       (job_id, disk_id, status, bytes_transferred, total_bytes, progress_percent)
     VALUES (?, ?, ?, ?, ?, ?)`,
  );
  for (const disk of answer.disk_progresses) {
    upsert.run(
      jobId,
      disk.disk_id,
      over ? answer.status : disk.status,
      disk.bytes_transferred,
      disk.total_bytes,
      disk.percentage,
    );
  }
  database.exec("COMMIT");
}
