import { cutOverDocument } from "../cut-over.ts";
import type { ShownJob } from "../status-text.ts";

/** A job of the VMA API, and what is known here of its VM, as `status --json` has it. Names and units are an interface. */
export function statusDocument(job: ShownJob) {
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
    converted: job.converted && { at: job.converted.since, run_id: job.converted.runId },
    cut_over: job.cutOver && cutOverDocument(job.cutOver),
    rehearsed: job.rehearsed && {
      at: job.rehearsed.at,
      run_id: job.rehearsed.runId,
      verdict: job.rehearsed.verdict,
    },
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
