/** What a verification found: the document, and what the exit code says of it. */
import { type DiskEnding, type Figures, noFigures, rateOf, type VmOfRun } from "../../ending.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { totalBytes } from "../../ranges.ts";
import type { Tally } from "../tally.ts";
import {
  type Comparison,
  type ComparisonPlan,
  listedMax,
  nothingFound,
  type PlannedComparison,
} from "./compare.ts";

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What became of one disk; part of `--json`, so names and units are an interface. */
export interface DiskVerification extends Figures {
  readonly disk_id: string;
  readonly target: string;
  readonly status: "equal" | "different" | "repaired" | "unverifiable" | "failed";
  /** What was compared with what, or why nothing could be. */
  readonly reason: string;
  readonly error?: string;
  readonly capacity_bytes: number;
  readonly differing_bytes: number;
  readonly repaired_bytes: number;
  /** In steps of 512 bytes, the lowest first, at most 1000. */
  readonly differences: readonly ByteRange[];
  readonly differences_truncated: boolean;
  /** What the VM wrote since the last sync: no difference, the next sync brings it. */
  readonly newer_bytes: number;
  readonly newer: readonly ByteRange[];
  readonly duration_ms: number;
}

export interface VerifySummary {
  readonly vm: VmOfRun;
  readonly run_id: string;
  readonly sampled: boolean;
  readonly quiesced: boolean;
  readonly duration_ms: number;
  readonly disks: readonly DiskVerification[];
}

/** What the exit code speaks of; a difference weighs more than a disk that nothing is known of. */
export function verdict(disks: readonly DiskVerification[]): MigratekitError | undefined {
  const different = disks.find((disk) => disk.status === "different");
  if (different) {
    const { disk_id, differing_bytes, differences } = different;
    return new MigratekitError(
      "verification-mismatch",
      `${disk_id}: ${differing_bytes} bytes differ from the snapshot, the first at offset ${differences[0]?.offset}`,
      { context: { disk: disk_id, offset: differences[0]?.offset } },
    );
  }
  const unknown = disks.find((disk) => disk.status === "unverifiable");
  if (!unknown) return undefined;
  return new MigratekitError(
    "verification-impossible",
    `${unknown.disk_id} cannot be verified: ${unknown.reason}`,
    { context: { disk: unknown.disk_id } },
  );
}

/** For `--json`; a disk that failed says why. */
export function verificationOf(
  { diskId, target, frozen, comparison, tally }: PlannedComparison,
  found: Comparison | { readonly error: unknown },
  durationMs: number,
): DiskVerification {
  const result = "error" in found ? nothingFound : found;
  return {
    ...figuresOf(tally, comparison),
    disk_id: diskId,
    target: target.identity,
    status: "error" in found ? "failed" : statusOf(comparison, found),
    reason: comparison.basis.reason,
    capacity_bytes: frozen.capacityBytes,
    differing_bytes: result.differingBytes,
    repaired_bytes: result.repairedBytes,
    differences: rangesOf(result.differences),
    differences_truncated: result.truncated,
    newer_bytes: totalBytes(comparison.newer),
    newer: rangesOf(comparison.newer),
    duration_ms: Math.round(durationMs),
    ...("error" in found ? { error: messageOf(found.error) } : {}),
  };
}

/** What was compared, read for that, and written by a repair. */
function figuresOf(tally: Tally, { expected }: ComparisonPlan): Figures {
  const readBytes = tally.readBytes + tally.comparedReadBytes;
  return {
    ...noFigures,
    planned_bytes: totalBytes(expected),
    read_bytes: readBytes,
    written_bytes: tally.writtenBytes,
    zeroed_bytes: tally.zeroedBytes,
    unchanged_bytes: tally.unchangedBytes,
    compared_bytes: tally.comparedBytes,
    rate_bps: rateOf(readBytes, tally.spanMs),
  };
}

/** As the history and the closing summary have it. */
export function verifiedEnding(
  disk: PlannedComparison,
  found: DiskVerification,
  status: DiskEnding["status"],
): DiskEnding {
  return {
    ...figuresOf(disk.tally, disk.comparison),
    disk_id: found.disk_id,
    target: found.target,
    sync_type: disk.comparison.basis.type === "unchanged" ? "incremental" : "full",
    resumed: false,
    reason: found.reason,
    status,
    ...(found.error === undefined ? {} : { error: found.error }),
    capacity_bytes: found.capacity_bytes,
    copied_bytes: found.written_bytes,
    skipped_bytes: found.unchanged_bytes,
    retries: disk.tally.retries,
    duration_ms: found.duration_ms,
  };
}

function statusOf({ basis }: ComparisonPlan, found: Comparison): DiskVerification["status"] {
  if (basis.type === "unknown") return "unverifiable";
  if (found.differingBytes === 0) return "equal";
  return found.repairedBytes === found.differingBytes ? "repaired" : "different";
}

function rangesOf(pairs: Float64Array): ByteRange[] {
  const ranges: ByteRange[] = [];
  for (let at = 0; at + 1 < pairs.length && ranges.length < listedMax; at += 2) {
    ranges.push({ offset: pairs[at]!, length: pairs[at + 1]! });
  }
  return ranges;
}
