/**
 * What to copy for one disk and why. Pure: everything it needs is handed in, so that every rule of
 * "incremental only if …" can be tested alone.
 */
import { splitChangeId } from "../../change-id.ts";
import { volumeIdOf } from "../../nbd/target/volume.ts";
import type { DiskRecord } from "../../state/disk-records.ts";
import type { Journal } from "../../state/journal.ts";
import type { CheckedTarget, CopyDecision } from "../disk.ts";

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

type TargetNow = Pick<CheckedTarget, "identity" | "names"> & {
  readonly info: { readonly sizeBytes: number };
};

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
  if (record?.unfinished === "full") {
    return full("an earlier full copy did not finish, or its target did not keep it");
  }
  const decision = decideIncremental(disk);
  // What an interrupted run wrote is listed among the changes only where history goes on from there.
  const broken = journal && brokenHistory("its change ID", journal.baseChangeId, frozen.changeId);
  if (broken !== undefined) return full(`an interrupted copy cannot be continued: ${broken}`);
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
  const broken = brokenHistory("the stored change ID", storedChangeId, frozen.changeId ?? "");
  if (broken !== undefined) return full(broken);
  const { targetUri, targetSizeBytes, capacityBytes } = record ?? {};
  // Whoever made the stored ID: what we know of the disk and its target holds.
  if (capacityBytes !== undefined && capacityBytes !== frozen.capacityBytes) {
    return full(`its capacity changed from ${capacityBytes} to ${frozen.capacityBytes} bytes`);
  }
  const known = targetUri !== undefined && targetSizeBytes !== undefined;
  const difference = known ? targetDifference(targetUri, targetSizeBytes, target) : undefined;
  if (difference !== undefined) return { ...full(difference), targetMismatch: true };
  if (!known || record?.changeId !== storedChangeId) {
    return {
      type: "incremental",
      reason: "a change ID from elsewhere is stored",
      since: storedChangeId,
      guard: "source",
    };
  }
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
  const broken = brokenHistory("its change ID", baseChangeId, frozen.changeId ?? "");
  if (broken !== undefined) return broken;
  if (capacityBytes !== frozen.capacityBytes) {
    return `the capacity changed from ${capacityBytes} to ${frozen.capacityBytes} bytes`;
  }
  return targetDifference(targetUri, targetSizeBytes, target);
}

/** That the target is not the one which had this name, under none of its names. */
export function otherTarget(uri: string, now: Omit<TargetNow, "info">): string | undefined {
  if (uri === now.identity || now.names.lasting.includes(uri)) return undefined;
  const volumeId = volumeIdOf(uri);
  if (volumeId !== undefined && volumeId === volumeIdOf(now.identity)) return undefined;
  return `the target was ${uri} and is now ${now.identity}`;
}

function targetDifference(uri: string, sizeBytes: number, now: TargetNow): string | undefined {
  const other = otherTarget(uri, now);
  if (other !== undefined) return other;
  // A volume that was only made larger still holds what it held, which the guard has to see.
  if (now.info.sizeBytes < sizeBytes) {
    return `the target's size changed from ${sizeBytes} to ${now.info.sizeBytes} bytes`;
  }
  return undefined;
}

/**
 * The UUID of a change ID names the tracking history; an ID of any other form is of no history that we
 * know. Every snapshot has a new and greater number; a revert to a snapshot may keep the history and go
 * back in it: numbers are then given a second time, and an ID of before means another state. Gives why
 * `before` (whose `what` names) tells nothing of `now`, or undefined.
 */
export function brokenHistory(what: string, before: string, now: string): string | undefined {
  const [was, is] = [splitChangeId(before.trim()), splitChangeId(now.trim())];
  if (was === undefined || was.uuid !== is?.uuid) {
    return `changed block tracking was reset: ${what} is of another history`;
  }
  if (is.sequence > was.sequence) return undefined;
  return `the disk went back in its history, as by a revert to a snapshot: ${what} ends in ${was.sequence}, the new one in ${is.sequence}`;
}

function full(reason: string): { type: "full"; reason: string } {
  return { type: "full", reason };
}
