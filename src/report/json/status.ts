import type { JobProgress } from "../../progress/vma/status.ts";

/** A job of the VMA API, as `status --json` has it. Names and units are an interface. */
export function statusDocument(job: JobProgress) {
  return {
    job_id: job.jobId,
    status: job.status,
    sync_type: job.syncType,
    phase: job.phase,
    current_operation: job.currentOperation,
    percentage: job.percentage,
    bytes_transferred: job.bytesTransferred,
    total_bytes: job.totalBytes,
    current_mbps: job.currentMbps,
    eta_seconds: job.etaSeconds,
    error_message: job.errorMessage,
    disks: job.disks.map((disk) => ({
      disk_id: disk.diskId,
      status: disk.status,
      sync_type: disk.syncType,
      percentage: disk.percentage,
      bytes_transferred: disk.bytesTransferred,
      total_bytes: disk.totalBytes,
      throughput_bps: disk.throughputBps,
    })),
  };
}
