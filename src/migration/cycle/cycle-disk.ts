import type { ExportInfo, NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import type { TargetSample } from "../../state/disk-records.ts";
import type { KnownDisk, TargetFacts } from "./decision.ts";

/** Everything that a cycle knows of one disk before it decides what to copy. */
export interface CycleDisk {
  /** `disk-2000` */
  readonly diskId: string;
  readonly frozen: {
    readonly key: number;
    readonly capacityBytes: number;
    readonly changeId: string | undefined;
    /** The snapshot's backing file, `[datastore] dir/disk.vmdk`: what VDDK opens. */
    readonly fileName: string;
  };
  readonly target: NbdEndpoint;
  readonly targetInfo: ExportInfo;
  readonly targetFacts: TargetFacts;
  /** The operator's word, taken only while nothing of ours has ever been written there. */
  readonly targetIsZero: boolean;
  readonly known: KnownDisk;
  /** True where an interrupted run may have written to the target since its record was made. */
  readonly interrupted: boolean;
  readonly journalFinished: Float64Array;
  readonly journalSamples: readonly TargetSample[];
  readonly recordSamples: readonly TargetSample[];
}
