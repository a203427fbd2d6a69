/** What the bench finds out: the shape of its JSON. */
import type { FieldResult } from "./field/results.ts";

/** One run of one contender. */
export interface Sample {
  wallMs: number;
  /** User and system time of the copying process, all threads. */
  cpuMs: number;
  /** Peak of resident memory; of our engine: above what the process had before it began. */
  peakBytes: number;
}

export interface ContenderResult {
  name: ContenderName;
  /** Its options in this cell, the winning ones where they were swept. */
  settings: string;
  /** Each run took this share of the work and its times are scaled up by it (1: all of it). */
  share: number;
  samples: Sample[];
  medianMs: number;
  cpuMsMedian: number;
  peakBytesMedian: number;
  /** Of our engine: what its last result said. */
  engine?: { sourceConnections: number; targetConnections: number; writtenBytes: number };
}

export type ContenderName =
  | "migratekit"
  | "migratekit-one"
  | "migratekit-before"
  | "migratekit-fixed"
  | "migratekit-stunnel"
  | "nbdcopy"
  | "nbdcopy-default"
  | "qemu-img"
  | "serial";

export type TargetKind = "nbd-server" | "stunnel" | "qemu-nbd";

export interface CellResult {
  name: string;
  group: "full" | "tls" | "incremental";
  /** full, tls, or the incremental shape. */
  shape: string;
  latencyMs: number;
  connections: "one" | "several";
  /** Bytes a second that each source connection may carry; 0: no limit. */
  connectionRate: number;
  target: TargetKind;
  /** What has to be read at least: allocated bytes, or the changed ranges. */
  payloadBytes: number;
  extents: number;
  contenders: ContenderResult[];
  /** How many settings were tried of each contender that is swept. */
  swept: Record<string, number>;
}

/** How fast the same work could be done at all, at a source without latency. */
export interface FloorResult {
  name: string;
  connections: "one" | "several";
  target: TargetKind;
  /** The source's data read and thrown away, by nbdcopy's best settings. */
  sourceAloneMs: number;
  /** The same bytes and zeroes written to the target out of nothing. */
  targetAloneMs: number;
  /** CPU time of client and server in both, spread over all cores: nobody who reads and writes through these servers can be faster. */
  bothOnTheseCoresMs: number;
  /** The largest of the three. */
  floorMs: number;
  /** The same bytes over bare sockets: Unix in, TCP out. */
  rawSocketMs: number;
}

export interface ExtentScaleResult {
  extents: number;
  extentBytes: number;
  samples: Sample[];
  medianMs: number;
  peakBytes: number;
}

export interface BenchResults {
  startedAt: string;
  durationMs: number;
  scale: string;
  pairs: number;
  machine: Record<string, string>;
  fullDisk: { sizeBytes: number; allocatedBytes: number; nonZeroBytes: number };
  cells: CellResult[];
  floors: FloorResult[];
  extentScale: ExtentScaleResult[];
  field: FieldResult[];
  notes: string[];
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function contender(cell: CellResult, name: ContenderName): ContenderResult | undefined {
  return cell.contenders.find((entry) => entry.name === name);
}

/** How many times faster our median is than theirs; undefined where one of them did not run. */
export function speedup(
  cell: CellResult,
  theirs: ContenderName,
  ours: ContenderName = "migratekit",
): number | undefined {
  const a = contender(cell, ours);
  const b = contender(cell, theirs);
  return a && b ? b.medianMs / a.medianMs : undefined;
}
