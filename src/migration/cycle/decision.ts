/**
 * What to copy for one disk and why. Pure: everything it needs is handed in, so that every rule of
 * "incremental only if …" can be tested alone.
 */

/** What the stores and the journal know of a disk. */
export interface KnownDisk {
  /** From the change-ID store that has authority (OMA or local). */
  readonly storedChangeId?: string | undefined;
  /** What the last good write of ours left; absent when that was another tool or another host. */
  readonly record?: LastSync | undefined;
  readonly journal?: Interrupted | undefined;
}

export interface LastSync {
  /** Absent once a full copy has begun: the target then matches no change ID. */
  readonly changeId?: string | undefined;
  /** A copy that was begun since and did not finish. */
  readonly unfinished?: "full" | "incremental" | undefined;
  readonly capacityBytes?: number | undefined;
  readonly target?: TargetFacts | undefined;
}

export interface Interrupted {
  readonly mode: "full" | "incremental";
  readonly baseChangeId: string;
  readonly capacityBytes: number;
  readonly target: TargetFacts;
}

export interface TargetFacts {
  readonly uri: string;
  readonly sizeBytes: number;
}

/** The disk as the new snapshot froze it. */
export interface FrozenDisk {
  readonly changeId?: string | undefined;
  readonly capacityBytes: number;
}

export type DiskPlan =
  | { readonly type: "full"; readonly reason: string; readonly targetMismatch?: true }
  | {
      readonly type: "incremental";
      readonly reason: string;
      /** Changes are asked for since this change ID. */
      readonly since: string;
      /** How to prove that the target still is what the change ID speaks of. */
      readonly guard: "samples" | "source";
    }
  | {
      readonly type: "resume";
      readonly reason: string;
      readonly mode: "full" | "incremental";
      /** Snapshot of the interrupted run: finished ranges are equal to the source at that point. */
      readonly base: string;
      /** For an incremental: the change ID that the interrupted run started from. */
      readonly since?: string;
    };

export function planDisk(
  frozen: FrozenDisk,
  target: TargetFacts,
  known: KnownDisk,
  options: { readonly full: boolean },
): DiskPlan {
  if (options.full) return full("--full was given");
  if (frozen.changeId === undefined) return full("the disk has no changed block tracking");
  const { journal } = known;
  if (journal?.mode === "full") {
    const obstacle = obstacleToResume(frozen, target, journal);
    return obstacle === undefined
      ? {
          type: "resume",
          reason: "a full copy was interrupted",
          mode: "full",
          base: journal.baseChangeId,
        }
      : full(`an interrupted full copy cannot be resumed: ${obstacle}`);
  }
  if (known.record?.unfinished === "full") return full("an earlier full copy did not finish");
  const plan = planIncremental(frozen, target, known);
  // Without our own record nothing tells what the target holds where the journal is silent.
  if (plan.type !== "incremental" || plan.guard !== "samples" || journal === undefined) return plan;
  return obstacleToResume(frozen, target, journal) === undefined
    ? {
        type: "resume",
        reason: "an incremental copy was interrupted",
        mode: "incremental",
        base: journal.baseChangeId,
        since: plan.since,
      }
    : plan;
}

function planIncremental(frozen: FrozenDisk, target: TargetFacts, known: KnownDisk): DiskPlan {
  const { storedChangeId, record } = known;
  if (storedChangeId === undefined) return full("no change ID is stored for it");
  if (!sameHistory(storedChangeId, frozen.changeId ?? "")) {
    return full("changed block tracking was reset: the stored change ID is of another history");
  }
  if (record === undefined || record.changeId !== storedChangeId || record.target === undefined) {
    return {
      type: "incremental",
      reason: "a change ID from elsewhere is stored",
      since: storedChangeId,
      guard: "source",
    };
  }
  if (record.capacityBytes !== undefined && record.capacityBytes !== frozen.capacityBytes) {
    return full(
      `its capacity changed from ${record.capacityBytes} to ${frozen.capacityBytes} bytes`,
    );
  }
  const difference = targetDifference(record.target, target);
  if (difference !== undefined) return { ...full(difference), targetMismatch: true };
  return {
    type: "incremental",
    reason: "a change ID of the same history is stored",
    since: storedChangeId,
    guard: "samples",
  };
}

function obstacleToResume(
  frozen: FrozenDisk,
  target: TargetFacts,
  journal: Interrupted,
): string | undefined {
  if (!sameHistory(journal.baseChangeId, frozen.changeId ?? "")) {
    return "changed block tracking was reset since";
  }
  if (journal.capacityBytes !== frozen.capacityBytes) {
    return `the capacity changed from ${journal.capacityBytes} to ${frozen.capacityBytes} bytes`;
  }
  return targetDifference(journal.target, target);
}

function targetDifference(before: TargetFacts, now: TargetFacts): string | undefined {
  if (before.uri !== now.uri) return `the target was ${before.uri} and is now ${now.uri}`;
  if (before.sizeBytes !== now.sizeBytes) {
    return `the target's size changed from ${before.sizeBytes} to ${now.sizeBytes} bytes`;
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
