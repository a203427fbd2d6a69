/**
 * How a command ended, as everybody is told it: the closing text, `--json`, the history and the last
 * progress update say these facts, in these words. Names and units are an interface; fields only grow.
 */

/** Bytes of one disk, or of all. */
export interface Figures {
  /** Allocated (full) or changed (incremental); an interrupted run may have brought a part before. */
  readonly planned_bytes: number;
  /** Read from the source in order to be copied, retries and gaps that were read across included. */
  readonly read_bytes: number;
  /** Data that the target was sent. */
  readonly written_bytes: number;
  /** Made zero on the target without being sent. */
  readonly zeroed_bytes: number;
  /** Had to be zero on the target, and was. */
  readonly unchanged_bytes: number;
  /** Seen to be equal, or not, on both sides: to prove what was written, or to verify it. */
  readonly compared_bytes: number;
  /** Bytes read a second, over the time that the copy took. */
  readonly rate_bps: number;
}

/** A comparison of a whole disk with its snapshot (`--verify`): evidence that both are equal. */
export interface Verification {
  readonly result: "equal" | "different";
  /** What was compared with what. */
  readonly compared: string;
  readonly compared_bytes: number;
  readonly differing_bytes: number;
  /** Of the target's first `capacity_bytes`, `sha256:…`: what sha256sum says of the volume. */
  readonly digest?: string;
  readonly duration_ms: number;
}

/** Of a copy that was interrupted: the next run goes on from there. */
export interface JournalEnding {
  readonly mode: "full" | "incremental";
  readonly finished_bytes: number;
}

export interface DiskEnding extends Figures {
  readonly disk_id: string;
  readonly target: string;
  readonly sync_type: "full" | "incremental";
  readonly resumed: boolean;
  readonly reason: string;
  /** `not_started`: the run ended before its turn. */
  readonly status: "completed" | "failed" | "interrupted" | "not_started";
  readonly error?: string;
  readonly capacity_bytes: number;
  /** The same as `written_bytes`, from before it was called so. */
  readonly copied_bytes: number;
  /** The same as `unchanged_bytes`, from before it was called so. */
  readonly skipped_bytes: number;
  readonly retries: number;
  readonly duration_ms: number;
  readonly verification?: Verification;
  /** Absent: none is open. */
  readonly journal?: JournalEnding;
  readonly change_id?: string;
}

/** The snapshot of a run; absent where none was made. */
export interface SnapshotEnding {
  readonly name: string;
  /** Absent where vSphere never answered. */
  readonly moref?: string;
  /** `left`: the next run, or `cleanup`, removes it. */
  readonly state: "removed" | "left";
}

export interface VmOfRun {
  readonly path: string;
  /** Absent where no vCenter was asked. */
  readonly moref?: string;
  readonly instance_uuid: string;
}

/** What is known of one run of one VM when it has ended, well or not. */
export interface RunEnding {
  readonly vm: VmOfRun;
  readonly run_id: string;
  readonly started_at: string;
  readonly duration_ms: number;
  /** Absent before the plan is made. */
  readonly sync_type?: "full" | "incremental";
  readonly quiesced?: boolean;
  readonly disks: readonly DiskEnding[];
  readonly total: Figures;
  readonly snapshot?: SnapshotEnding;
}

export interface Ending extends Partial<RunEnding> {
  readonly command: string;
  readonly status: "completed" | "failed" | "interrupted";
  readonly exit_code: number;
  /** Commands to type, the likeliest first, each behind what it is for. */
  readonly next: readonly NextStep[];
}

export interface NextStep {
  readonly why: string;
  /** As it can be pasted into a shell; absent where it is not a command of ours. */
  readonly command?: string;
}

export const noFigures: Figures = {
  planned_bytes: 0,
  read_bytes: 0,
  written_bytes: 0,
  zeroed_bytes: 0,
  unchanged_bytes: 0,
  compared_bytes: 0,
  rate_bps: 0,
};

/** `copyMs`: from the first byte of the first disk to the last byte of the last. */
export function sumFigures(all: readonly Figures[], copyMs: number): Figures {
  const sum = (of: (figures: Figures) => number) => all.reduce((total, one) => total + of(one), 0);
  const read_bytes = sum((one) => one.read_bytes);
  return {
    planned_bytes: sum((one) => one.planned_bytes),
    read_bytes,
    written_bytes: sum((one) => one.written_bytes),
    zeroed_bytes: sum((one) => one.zeroed_bytes),
    unchanged_bytes: sum((one) => one.unchanged_bytes),
    compared_bytes: sum((one) => one.compared_bytes),
    rate_bps: rateOf(read_bytes, copyMs),
  };
}

/** What the line carried: bytes read a second. */
export function rateOf(readBytes: number, durationMs: number): number {
  return durationMs < 1 ? 0 : Math.round((readBytes / durationMs) * 1000);
}
