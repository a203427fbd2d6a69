/** What a run would do to each disk, as far as that can be told without a snapshot. */
import { splitChangeId } from "../../change-id.ts";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { OmaApi } from "../../oma/oma.ts";
import { complement, totalBytes } from "../../ranges.ts";
import type { RunRecord } from "../../state/run-record.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import { decideCopy } from "../cycle/decision.ts";
import { findForeignWrite } from "../cycle/guard.ts";
import { peekChangeId } from "../cycle/oma-change-ids.ts";
import type { CopyDecision, FoundDisk } from "../disk.ts";
import { type TrackingSettings, willBeTracked } from "../vm/suitable.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";
import { unreadableTarget } from "./targets.ts";

/** What a run would do to one disk; a row of the JSON document. */
export interface DiskForecast {
  readonly disk_id: string;
  readonly target: string;
  readonly capacity_bytes: number;
  readonly type: CopyDecision["type"];
  readonly reason: string;
  /** What is copied at most; absent where only the snapshot can tell. */
  readonly bytes_at_most?: number;
  /** Of past incremental copies of this disk, the one in the middle. */
  readonly usual_bytes?: number;
}

export interface Estimate {
  readonly seconds: number;
  /** How many past runs of the same kind it rests on. */
  readonly runs: number;
}

export interface Plan {
  readonly findings: Finding[];
  readonly disks: DiskForecast[];
  readonly estimate?: Estimate;
}

export interface PlanContext {
  readonly config: Config;
  readonly vm: VmDetails;
  readonly identity: VmIdentity;
  /** Undefined where nothing was ever run. */
  readonly state: State | undefined;
  readonly signal: AbortSignal;
}

/**
 * What a run would do to each of these disks, and how long it may take. A disk that cannot be
 * planned is a finding.
 * @throws the signal's reason
 */
export async function makePlan(context: PlanContext, targets: readonly FoundDisk[]): Promise<Plan> {
  const { state, identity, config } = context;
  const findings: Finding[] = [];
  const past = state ? pastRuns(state, identity) : [];
  const disks = [];
  for (const target of targets) {
    const disk = await planOne(context, target, past, findings).catch((error: unknown) => {
      context.signal.throwIfAborted();
      findings.push(problem("change-ids", error));
    });
    if (disk) disks.push(disk);
  }
  if (config.changeIdJob !== undefined && disks.length > 0) {
    findings.push(ok("change-ids", `OMA API at ${config.cloudstackApiUrl}`));
  }
  const estimate = estimateTime(disks, past);
  return { findings, disks, ...(estimate === undefined ? {} : { estimate }) };
}

async function planOne(
  context: PlanContext,
  { diskId, disk, target }: FoundDisk,
  past: readonly RunRecord[],
  findings: Finding[],
): Promise<DiskForecast> {
  const { state, identity, config, vm } = context;
  const { key, capacityBytes, changeId } = disk;
  const record = state?.records.readDiskRecord(identity, key);
  const journal = state?.journals.openJournal(identity, key);
  const stored = await storedChangeId(context, key, record?.changeId, findings);
  const frozen = { capacityBytes, changeId: nextChangeId(changeId, vm, config) };
  const known = { frozen, target, storedChangeId: stored, record, journal };
  // What a conversion left between old and new is brought back before the run looks.
  const isRestored = state?.conversions.read(identity) !== undefined;
  let plan: CopyDecision = decideCopy(known, { full: config.full });
  const difference = await findDifference(config, isRestored, known, plan, context.signal).catch(
    (error: unknown) => {
      throw unreadableTarget(target.endpoint.uri, diskId, error);
    },
  );
  if (difference !== undefined) {
    findings.push(mismatch(config.onTargetMismatch, diskId, difference));
    if (plan.type !== "full") plan = { type: "full", reason: difference, targetMismatch: true };
  }
  if (config.targetIsZero && record !== undefined) {
    findings.push(
      warning(
        "target",
        `--target-is-zero is not used for ${diskId}: an earlier run has written there`,
        "Leave it out after the first run.",
      ),
    );
  }
  const atMost = bytesAtMost(plan, capacityBytes, journal?.finished);
  const usual = plan.type === "incremental" ? usualBytes(past, key) : undefined;
  return {
    disk_id: diskId,
    target: target.identity,
    capacity_bytes: capacityBytes,
    type: plan.type,
    reason: plan.reason,
    ...(atMost === undefined ? {} : { bytes_at_most: atMost }),
    ...(usual === undefined ? {} : { usual_bytes: usual }),
  };
}

/** What a snapshot would have. Before its first one a disk has no history: no stored ID fits it. */
function nextChangeId(
  live: string | undefined,
  vm: VmDetails,
  settings: TrackingSettings,
): string | undefined {
  const now = live === undefined ? undefined : splitChangeId(live);
  if (now !== undefined) return `${now.uuid}/${now.sequence + 1n}`;
  return live ?? (willBeTracked(vm, settings) ? "new" : undefined);
}

/** An unreadable store ends a run, unless all is copied anyway. */
async function storedChangeId(
  { state, identity, config, signal }: PlanContext,
  key: number,
  recorded: string | undefined,
  findings: Finding[],
): Promise<string | undefined> {
  if (config.changeIdJob === undefined) return recorded;
  const baseUrl = config.cloudstackApiUrl;
  const api = new OmaApi({ baseUrl, attempts: 2, requestTimeoutMs: 5000 });
  try {
    return await peekChangeId(state?.database, api, identity, key, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!config.full) throw error;
    const message = `${messageOf(error)}; --full does without`;
    findings.push(warning("change-ids", message, "Check the OMA API (CLOUDSTACK_API_URL)."));
    return undefined;
  }
}

/** What the run's guard would find, as far as that takes no snapshot. */
async function findDifference(
  { full }: Pick<Config, "full">,
  isRestored: boolean,
  known: Parameters<typeof findForeignWrite>[0],
  plan: CopyDecision,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (full || isRestored) return undefined;
  if (plan.type === "full" && plan.targetMismatch) return plan.reason;
  return await findForeignWrite(known, signal);
}

function mismatch(policy: Config["onTargetMismatch"], diskId: string, reason: string): Finding {
  if (policy === "fail") {
    return problem("target", new MigratekitError("target-mismatch", `${diskId}: ${reason}`));
  }
  return warning(
    "target",
    `${diskId}: ${reason}; everything would be copied over it`,
    "Check that the volume is the right one; without --on-target-mismatch full it is refused.",
  );
}

function bytesAtMost(
  plan: CopyDecision,
  capacityBytes: number,
  finished: Float64Array | undefined,
): number | undefined {
  if (plan.type === "full") return capacityBytes;
  if (plan.type === "incremental" || plan.mode === "incremental") return undefined;
  return totalBytes(complement(finished ?? new Float64Array(0), capacityBytes));
}

/** Completed syncs, the newest first; verifications copy nothing and tell nothing. */
function pastRuns(state: State, identity: VmIdentity): RunRecord[] {
  const runs = state.runs.lastSuccessfulRuns(identity, 50);
  return runs.filter((run) => run.disks.length > 0);
}

function usualBytes(past: readonly RunRecord[], key: number): number | undefined {
  const bytes = past
    .flatMap((run) => run.disks)
    .filter((disk) => disk.deviceKey === key && disk.syncType === "incremental" && !disk.resumed)
    .map((disk) => disk.plannedBytes);
  return median(bytes);
}

function estimateTime(
  disks: readonly DiskForecast[],
  past: readonly RunRecord[],
): Estimate | undefined {
  if (disks.length === 0) return undefined;
  const full = disks.some((disk) => disk.type === "full");
  const alike = past.filter((run) => {
    const wasFull = run.disks.some((disk) => disk.syncType === "full");
    const resumed = run.disks.some((disk) => disk.resumed);
    return !resumed && wasFull === full && run.durationMs !== undefined;
  });
  const durationMs = median(alike.map((run) => run.durationMs ?? 0));
  if (durationMs === undefined) return undefined;
  return { seconds: Math.round(durationMs / 100) / 10, runs: alike.length };
}

function median(values: readonly number[]): number | undefined {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
