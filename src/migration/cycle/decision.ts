/**
 * What to copy for one disk and why. Pure: everything it needs is handed in, so that every rule of
 * "incremental only if …" can be tested alone.
 */
import type { DiskRecord } from "../../state/disk-records.ts";
import type { Journal } from "../../state/journal.ts";
import type { CopyDecision } from "../disk.ts";

/** What a decision rests on: a FrozenDisk, or as much of one as is known without a snapshot. */
export interface DecisionBasis {
  readonly frozen: { readonly changeId?: string | undefined; readonly capacityBytes: number };
  readonly target: TargetNow;
  readonly storedChangeId?: string | undefined;
  readonly record?: Pick<DiskRecord, "changeId" | "unfinished" | Copied> | undefined;
  readonly journal?: Interrupted | undefined;
}

type Copied = "capacityBytes" | "targetUri" | "targetSizeBytes";
type Interrupted = Pick<Journal, "mode" | "baseChangeId" | Copied>;

interface TargetNow {
  readonly identity: string;
  readonly info: { readonly sizeBytes: number };
}

/** Never throws. With `full` (`--full`) nothing else counts. */
export function decideCopy(disk: DecisionBasis, options: { readonly full: boolean }): CopyDecision {
  const { frozen, record, journal } = disk;
  if (options.full) return full("--full was given");
  if (frozen.changeId === undefined) return full("the disk has no changed block tracking");
  if (journal?.mode === "full") {
    const obstacle = obstacleToResume(disk, journal);
    return obstacle === undefined
      ? {
          type: "resume",
          reason: "a full copy was interrupted",
          mode: "full",
          base: journal.baseChangeId,
        }
      : full(`an interrupted full copy cannot be resumed: ${obstacle}`);
  }
  if (record?.unfinished === "full") return full("an earlier full copy did not finish");
  const decision = decideIncremental(disk);
  // Without our own record nothing tells what the target holds where the journal is silent.
  if (decision.type !== "incremental" || decision.guard !== "samples") return decision;
  if (journal === undefined || obstacleToResume(disk, journal) !== undefined) return decision;
  return {
    type: "resume",
    reason: "an incremental copy was interrupted",
    mode: "incremental",
    base: journal.baseChangeId,
    since: decision.since,
  };
}

function decideIncremental({
  frozen,
  target,
  storedChangeId,
  record,
}: DecisionBasis): CopyDecision {
  if (storedChangeId === undefined) return full("no change ID is stored for it");
  if (!sameHistory(storedChangeId, frozen.changeId ?? "")) {
    return full("changed block tracking was reset: the stored change ID is of another history");
  }
  const { targetUri, targetSizeBytes, capacityBytes } = record ?? {};
  const ours = record?.changeId === storedChangeId;
  if (!ours || targetUri === undefined || targetSizeBytes === undefined) {
    return {
      type: "incremental",
      reason: "a change ID from elsewhere is stored",
      since: storedChangeId,
      guard: "source",
    };
  }
  if (capacityBytes !== undefined && capacityBytes !== frozen.capacityBytes) {
    return full(`its capacity changed from ${capacityBytes} to ${frozen.capacityBytes} bytes`);
  }
  const difference = targetDifference(targetUri, targetSizeBytes, target);
  if (difference !== undefined) return { ...full(difference), targetMismatch: true };
  return {
    type: "incremental",
    reason: "a change ID of the same history is stored",
    since: storedChangeId,
    guard: "samples",
  };
}

function obstacleToResume(
  { frozen, target }: DecisionBasis,
  journal: Interrupted,
): string | undefined {
  const { baseChangeId, capacityBytes, targetUri, targetSizeBytes } = journal;
  if (!sameHistory(baseChangeId, frozen.changeId ?? "")) {
    return "changed block tracking was reset since";
  }
  if (capacityBytes !== frozen.capacityBytes) {
    return `the capacity changed from ${capacityBytes} to ${frozen.capacityBytes} bytes`;
  }
  return targetDifference(targetUri, targetSizeBytes, target);
}

function targetDifference(uri: string, sizeBytes: number, now: TargetNow): string | undefined {
  if (uri !== now.identity) return `the target was ${uri} and is now ${now.identity}`;
  if (sizeBytes !== now.info.sizeBytes) {
    return `the target's size changed from ${sizeBytes} to ${now.info.sizeBytes} bytes`;
  }
  return undefined;
}

/**
 * A change ID is 16 hex bytes, a slash and a sequence number; the bytes name the tracking history.
 * An ID of any other form is of no history that we know.
 */
export function sameHistory(a: string, b: string): boolean {
  const history = (id: string) => /^([0-9a-f][0-9a-f -]+)\/\d+$/i.exec(id.trim())?.[1];
  const first = history(a)?.toLowerCase();
  return first !== undefined && first === history(b)?.toLowerCase();
}

function full(reason: string): { type: "full"; reason: string } {
  return { type: "full", reason };
}
