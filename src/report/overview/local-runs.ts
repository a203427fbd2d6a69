/** The runs that are at work on this machine, as `status` shows a job of the VMA API. */
import type { JobProgress } from "../../progress/vma/status.ts";
import { readLiveProgress } from "../../state/lock/live-progress.ts";
import { isVmLocked } from "../../state/lock/lock.ts";
import type { RunRecord } from "../../state/run-record.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { liveRun } from "./overview.ts";

export interface LocalRun {
  readonly vm: VmIdentity;
  readonly run: RunRecord;
  readonly job: JobProgress;
}

/** @throws MigratekitError `state-unusable` */
export function localRuns(state: State, stateDir: string): LocalRun[] {
  return state.listVms().flatMap((vm) => {
    const run = liveRun(state, vm, isVmLocked(stateDir, vm.instanceUuid));
    return run === undefined ? [] : [{ vm, run, job: jobOf(stateDir, vm, run) }];
  });
}

/** How a run ended that was at work before; one that nobody ended died. */
export function endingOf(state: State, { vm, run }: LocalRun): RunRecord {
  const found = state.runs.listRuns(vm, 500).find(({ runId }) => runId === run.runId) ?? run;
  return found.status === "running" ? { ...found, status: "died" } : found;
}

function jobOf(stateDir: string, vm: VmIdentity, run: RunRecord): JobProgress {
  const progress = readLiveProgress(stateDir, vm.instanceUuid, run.runId);
  const total = progress?.total;
  return {
    jobId: `${vm.vmPath} (${run.command}, run ${run.runId})`,
    status: "in_progress",
    syncType: progress?.syncType,
    phase: progress?.stage,
    currentOperation: progress?.detail,
    percentage: total?.percent ?? 0,
    bytesTransferred: total?.transferredBytes ?? 0,
    totalBytes: total?.totalBytes ?? 0,
    currentMbps: total && total.throughputBps / 1e6,
    etaSeconds: total?.etaSeconds,
    errorMessage: undefined,
    disks: (progress?.disks ?? []).map((disk) => ({
      diskId: disk.diskId,
      status: undefined,
      syncType: disk.syncType,
      percentage: disk.percent,
      bytesTransferred: disk.transferredBytes,
      totalBytes: disk.totalBytes,
      throughputBps: disk.throughputBps,
    })),
  };
}
