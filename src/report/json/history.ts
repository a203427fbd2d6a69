import type { RunRecord } from "../../state/run-record.ts";
import { cutOverDocument } from "../cut-over.ts";
import type { VmHistory } from "../history-text.ts";

/** Past runs, as `history --json` has them. Names and units are an interface. */
export function historyDocument(vms: readonly VmHistory[]) {
  return {
    vms: vms.map(({ endpoint, endpointUuid, instanceUuid, vmPath, cutOver, conversion, runs }) => ({
      vm_path: vmPath,
      instance_uuid: instanceUuid,
      endpoint,
      endpoint_uuid: endpointUuid,
      cut_over: cutOver && cutOverDocument(cutOver),
      conversion: conversion && {
        phase: conversion.phase,
        since: conversion.since,
        run_id: conversion.runId,
        old_bytes: conversion.folder,
        result: conversion.result,
      },
      runs: runs.map(runDocument),
    })),
  };
}

function runDocument(run: RunRecord) {
  return {
    run_id: run.runId,
    sequence: run.sequence,
    command: run.command,
    version: run.version,
    pid: run.pid,
    host: run.host,
    started_at: run.startedAt,
    status: run.status,
    duration_ms: run.durationMs && Math.round(run.durationMs),
    error_code: run.errorCode,
    message: run.message,
    stages: run.stages.map(({ stage, startedAt, durationMs }) => ({
      stage,
      started_at: startedAt,
      duration_ms: Math.round(durationMs),
    })),
    ...endingOf(run),
    disks: disksOf(run),
    snapshots: run.snapshots,
  };
}

/** What was told when it ended; the facts that are columns of their own are the history's. */
function endingOf({ ending }: RunRecord) {
  if (ending === undefined) return {};
  const { sync_type, quiesced, total, snapshot, next } = ending;
  return { sync_type, quiesced, total, snapshot, next };
}

function disksOf(run: RunRecord) {
  const told = new Map(run.ending?.disks.map((disk) => [disk.disk_id, disk]));
  const recorded = run.disks.map((disk) => ({
    disk_id: `disk-${disk.deviceKey}`,
    sync_type: disk.syncType,
    resumed: disk.resumed,
    reason: disk.reason,
    finished: disk.finished,
    capacity_bytes: disk.capacityBytes,
    planned_bytes: disk.plannedBytes,
    copied_bytes: disk.copiedBytes,
    zeroed_bytes: disk.zeroedBytes,
    skipped_bytes: disk.skippedBytes,
    retries: disk.retries,
    duration_ms: Math.round(disk.durationMs),
    ...told.get(`disk-${disk.deviceKey}`),
  }));
  const rest = [...told.values()].filter(
    ({ disk_id }) => !recorded.some((disk) => disk.disk_id === disk_id),
  );
  return [...recorded, ...rest.map((disk) => ({ ...disk, finished: disk.status === "completed" }))];
}
