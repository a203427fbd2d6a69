/**
 * One disk on its way through a cycle. It grows by stages, and each stage is a value: what an earlier
 * one says stays, and whoever learns more gives another.
 *
 *     found      the VM has it, and an export takes it         vm/targets.ts
 *     frozen     a snapshot holds it; what the state knows     freezeDisk, below
 *     planned    what is to be copied, and why                 cycle/plan.ts
 *     prepared   nbdkit serves it, its target is proved        cycle/source.ts, cycle/guard.ts
 *     copied     what became of it                             cycle/copy.ts
 */
import type { Logger } from "pino";
import type { Verification } from "../ending.ts";
import { MigratekitError } from "../errors.ts";
import type { ExportInfo, NbdEndpoint } from "../nbd/copy-engine/copy-engine.ts";
import type { NbdkitExport } from "../nbd/nbdkit/nbdkit.ts";
import type { TargetNames } from "../nbd/target/names.ts";
import type { DiskRecord } from "../state/disk-records.ts";
import type { Journal } from "../state/journal.ts";
import type { State } from "../state/state.ts";
import type { VmIdentity } from "../state/vm-identity.ts";
import type { VirtualDisk } from "../vmware/virtual-disk.ts";
import type { Tally } from "./tally.ts";

export interface FoundDisk {
  /** `disk-2000` */
  readonly diskId: string;
  /** As the VM has it now. */
  readonly disk: VirtualDisk;
  readonly target: CheckedTarget;
  /** What is done for it in this run. */
  readonly tally: Tally;
}

/** The export that takes a disk, looked at before the first byte. */
export interface CheckedTarget {
  readonly endpoint: NbdEndpoint;
  readonly info: ExportInfo;
  /** One text for one export, whatever the spelling of its URI. */
  readonly identity: string;
  /** All that are known, `identity` first. */
  readonly names: TargetNames;
}

export interface FrozenDisk extends FoundDisk {
  /** As the snapshot holds it: what is copied. */
  readonly frozen: VirtualDisk;
  /** The operator's word, taken only while nothing of ours has ever been written to the target. */
  readonly targetIsZero: boolean;
  /** From the change-ID store that has authority (OMA or local). */
  readonly storedChangeId: string | undefined;
  /** What the last good write of ours left; absent when that was another tool or another host. */
  readonly record: DiskRecord | undefined;
  /** Of a copy that was interrupted. */
  readonly journal: Journal | undefined;
}

export interface PlannedDisk extends FrozenDisk {
  readonly plan: CopyPlan;
}

export interface PreparedDisk extends PlannedDisk {
  readonly source: ServedSource;
}

export interface CopiedDisk extends PreparedDisk {
  readonly outcome: CopyOutcome;
  /** `--verify` */
  readonly verification?: Verification | undefined;
  /** Allocated (full) or changed (incremental), as far as vSphere has told. */
  readonly plannedBytes: number;
  readonly durationMs: number;
}

/** What to do with a disk and why (cycle/decision.ts). */
export type CopyDecision =
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

/** What is to be copied of one disk. Lists are pairs [offset, length], in bytes, sorted and disjoint. */
export interface CopyPlan {
  readonly decision: CopyDecision;
  readonly syncType: "full" | "incremental";
  /** What the engine copies; undefined: the whole disk. */
  readonly extents: Float64Array | undefined;
  /** More extents, which vSphere has not listed yet; they follow `extents` on the disk. */
  readonly rest?: AsyncIterable<Float64Array>;
  /** What progress counts; undefined: the whole capacity. */
  readonly plannedAreas: Float64Array | undefined;
  /** What interrupted runs brought over and no change has touched since; part of the journal. */
  readonly finished: Float64Array;
  /** Where the target may differ from what its record says, since an interrupted run wrote there. */
  readonly touched: Float64Array;
}

/** A disk of the snapshot as nbdkit serves it. */
export interface ServedSource {
  /** Its socket, and over how many connections it is read (absent: the engine measures). */
  readonly endpoint: NbdEndpoint;
  readonly nbdkit: NbdkitExport;
}

export type CopyOutcome =
  | { readonly status: "completed" }
  | { readonly status: "failed" | "interrupted"; readonly error: unknown };

/** What is known of a VM's disks before they are frozen, and where it is kept. */
export interface Knowledge {
  readonly identity: VmIdentity;
  readonly state: Pick<State, "records" | "journals" | "targets">;
  /** By device key, as the store that has authority gave them. */
  readonly changeIds: ReadonlyMap<number, string>;
  /** `full`: an interrupted copy is forgotten. `targetIsZero`: see FrozenDisk. */
  readonly config: { readonly full: boolean; readonly targetIsZero: boolean };
  readonly logger: Logger;
}

/**
 * Puts together what the snapshot, the target and the state say of one disk.
 * @throws MigratekitError `vm-unsuitable` where the snapshot lacks it, `target-too-small` where it grew,
 *   `state-unusable`
 */
export function freezeDisk(
  found: FoundDisk,
  disks: readonly VirtualDisk[],
  { identity, state, changeIds, config, logger }: Knowledge,
): FrozenDisk {
  const { diskId, target } = found;
  const { key } = found.disk;
  const frozen = disks.find((disk) => disk.key === key);
  if (!frozen) {
    throw new MigratekitError("vm-unsuitable", `${diskId} is not in the snapshot`, {
      remedy: `Check the disk's mode, or leave it out with --skip-disks ${key}.`,
    });
  }
  if (frozen.capacityBytes > target.info.sizeBytes) {
    throw new MigratekitError(
      "target-too-small",
      `${diskId} grew to ${frozen.capacityBytes} bytes; ${target.identity} has ${target.info.sizeBytes}`,
    );
  }
  if (config.full) state.journals.discardJournal(identity, key);
  const record = state.records.readDiskRecord(identity, key);
  const journal = state.journals.openJournal(identity, key);
  // `--target-is-zero` left in a cron line must not be believed once we have written there.
  const written = record !== undefined || state.targets.hasOwner(target.names.lasting);
  if (config.targetIsZero && written) {
    logger.warn(
      { disk: diskId, target: target.identity },
      "--target-is-zero is not used: an earlier run has written to this disk's target",
    );
  }
  const targetIsZero = config.targetIsZero && !written;
  const storedChangeId = changeIds.get(key);
  return { ...found, frozen, targetIsZero, storedChangeId, record, journal };
}

/** Both sides of a prepared disk, as the engine's comparisons take them; a copy tells `tally.copied`. */
export function sidesOf({
  frozen,
  target,
  source,
  tally,
}: FrozenDisk & { readonly source: ServedSource }) {
  return {
    source: source.endpoint,
    target: target.endpoint,
    capacityBytes: frozen.capacityBytes,
    onFigures: tally.compared,
  };
}
