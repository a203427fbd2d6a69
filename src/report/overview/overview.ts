/** What this machine knows of its VMs, from the state directory alone: the document of `list --json`. */
import { readLiveProgress } from "../../state/lock/live-progress.ts";
import { isVmLocked, type VmLockHolder } from "../../state/lock/lock.ts";
import type { RunRecord } from "../../state/run-record.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { type CutOverDocument, cutOverDocument } from "../cut-over.ts";

export interface KnownVm {
  readonly vm_path: string;
  readonly endpoint: string;
  readonly instance_uuid: string;
  readonly disks: readonly KnownDisk[];
  /** The newest sync that brought every disk of the VM. */
  readonly last_sync?: Done & { readonly sync_type: "full" | "incremental" };
  /** What had changed when that sync was incremental: what the next one has to bring, give or take. */
  readonly delta_bytes?: number;
  readonly running?: Running;
  readonly verified?: Done;
  /** The newest rehearsal that came to a verdict. */
  readonly rehearsed?: Done & { readonly verdict: string };
  /** Since then the targets hold a converted guest. */
  readonly converted?: Done;
  readonly cut_over?: CutOverDocument;
  /** One sentence each; none: all is well. */
  readonly trouble: readonly string[];
}

export interface KnownDisk {
  readonly disk_id: string;
  readonly target?: string;
  readonly capacity_bytes?: number;
  readonly synced_at?: string;
}

export interface Done {
  /** ISO 8601 */
  readonly at: string;
  readonly run_id: string;
}

export interface Running {
  readonly run_id: string;
  readonly command: string;
  readonly started_at: string;
  readonly pid: number;
  readonly host: string;
  readonly stage?: string;
  readonly percent?: number;
}

const syncs = ["migrate", "cutover"];

/** What the state knows of these VMs, by their paths. @throws MigratekitError `state-unusable` */
export function readOverview(
  state: State,
  stateDir: string,
  vms: readonly VmIdentity[],
): KnownVm[] {
  return vms
    .map((vm) => knownVm(state, stateDir, vm))
    .sort((a, b) => (a.vm_path < b.vm_path ? -1 : Number(a.vm_path > b.vm_path)));
}

function knownVm(state: State, stateDir: string, vm: VmIdentity): KnownVm {
  const holder = isVmLocked(stateDir, vm.instanceUuid);
  const run = liveRun(state, vm, holder);
  const sync = state.runs.lastCompleted(vm, syncs);
  const verified = state.runs.lastVerified(vm);
  const rehearsed = state.rehearsals.read(vm);
  const cutOver = state.readCutOver(vm);
  const conversion = state.conversions.read(vm);
  return {
    vm_path: vm.vmPath,
    endpoint: vm.endpoint,
    instance_uuid: vm.instanceUuid,
    disks: state.records.listDisks(vm).map((disk) => ({
      disk_id: `disk-${disk.deviceKey}`,
      ...(disk.targetUri && { target: disk.targetUri }),
      ...(disk.capacityBytes !== undefined && { capacity_bytes: disk.capacityBytes }),
      ...(disk.syncedAt && { synced_at: disk.syncedAt }),
    })),
    ...(sync && { last_sync: { ...doneBy(sync), sync_type: syncTypeOf(sync) } }),
    ...(sync && syncTypeOf(sync) === "incremental" && { delta_bytes: plannedBytes(sync) }),
    ...(run && { running: runningAs(run, stateDir, vm) }),
    ...(verified && { verified: doneBy(verified) }),
    ...(rehearsed && {
      rehearsed: { at: rehearsed.at, run_id: rehearsed.runId, verdict: rehearsed.verdict },
    }),
    ...(conversion?.phase === "converted" && {
      converted: { at: conversion.since, run_id: conversion.runId },
    }),
    ...(cutOver && { cut_over: cutOverDocument(cutOver) }),
    trouble: troubleOf(state, vm, holder, run),
  };
}

/** The run that is at work on the VM now, if there is one. */
export function liveRun(
  state: State,
  vm: VmIdentity,
  holder: VmLockHolder | undefined,
): RunRecord | undefined {
  if (holder === undefined) return undefined;
  const dead = new Set(state.runs.deadRuns(vm, holder).map(({ runId }) => runId));
  return state.runs
    .listRuns(vm)
    .find(({ runId, status }) => status === "running" && !dead.has(runId));
}

function runningAs(run: RunRecord, stateDir: string, vm: VmIdentity): Running {
  const progress = readLiveProgress(stateDir, vm.instanceUuid, run.runId);
  return {
    run_id: run.runId,
    command: run.command,
    started_at: run.startedAt,
    pid: run.pid,
    host: run.host,
    ...(progress && { stage: progress.stage }),
    ...(progress && progress.disks.length > 0 && { percent: progress.total.percent }),
  };
}

/** When it ended. */
function doneBy({ runId, startedAt, durationMs = 0 }: RunRecord): Done {
  return { at: new Date(Date.parse(startedAt) + durationMs).toISOString(), run_id: runId };
}

function syncTypeOf({ disks }: RunRecord): "full" | "incremental" {
  return disks.some(({ syncType }) => syncType === "full") ? "full" : "incremental";
}

function plannedBytes({ disks }: RunRecord): number {
  return disks.reduce((sum, disk) => sum + disk.plannedBytes, 0);
}

/** What an operator should look at; what a run at work will put right by itself is none. */
function troubleOf(
  state: State,
  vm: VmIdentity,
  holder: VmLockHolder | undefined,
  run: RunRecord | undefined,
): string[] {
  const dead = new Set(state.runs.deadRuns(vm, holder).map(({ runId }) => runId));
  const [last] = state.runs.listRuns(vm).filter(({ runId }) => runId !== run?.runId);
  const disks = state.records.listDisks(vm);
  const ids = (keys: readonly { deviceKey: number }[]) =>
    keys.map(({ deviceKey }) => `disk-${deviceKey}`).join(", ");
  const unfinished = disks.filter((disk) => disk.unfinished !== undefined);
  const pending = disks.filter((disk) => disk.pendingUpload);
  const conversion = state.conversions.read(vm);
  const between = conversion?.phase === "applying" || conversion?.phase === "rolling-back";
  const left = state.runs.runsWithLeftoverSnapshots(vm, holder);
  return [
    ...(last === undefined ? [] : endingTrouble(last, dead.has(last.runId))),
    ...(unfinished.length === 0 || run !== undefined
      ? []
      : [`the copy of ${ids(unfinished)} did not finish: the next run goes on with it`]),
    ...(pending.length === 0
      ? []
      : [`the change ID of ${ids(pending)} waits for the OMA API: the next run sends it`]),
    ...(!between || run !== undefined
      ? []
      : ["a conversion did not end: the next command on the VM brings the old bytes back"]),
    ...(left.length === 0
      ? []
      : ["a run left its snapshot on the VM: the next run or 'migratekit cleanup' removes it"]),
  ];
}

function endingTrouble(run: RunRecord, died: boolean): string[] {
  const what = `the last run (${run.command}, ${run.startedAt.slice(0, 16).replace("T", " ")} UTC)`;
  if (died || run.status === "died") return [`${what} died`];
  if (run.status === "interrupted") return [`${what} was interrupted`];
  if (run.status !== "failed") return [];
  return [`${what} failed [${run.errorCode ?? "bug"}]: ${run.message ?? ""}`];
}
