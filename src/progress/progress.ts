/** How far a run is: the one state behind the VMA updates, the terminal and the log lines. */
import { RangeSet } from "../range-set.ts";
import { PlannedSpace } from "./planned-space.ts";
import { RateWindow } from "./rate.ts";

/** The stages of the VMA progress API, in their order. */
export const stages = [
  "Discover",
  "EnableCBT",
  "Snapshot",
  "QueryCBT",
  "StartExports",
  "Transfer",
  "Finalize",
  "PersistChangeIDs",
  "Complete",
] as const;

export type Stage = (typeof stages)[number];
export type SyncType = "full" | "incremental";

export interface Amounts {
  /** Planned bytes that are done; never goes down while the plan stands. */
  readonly transferredBytes: number;
  /** Planned bytes: allocated or changed, not the capacity. */
  readonly totalBytes: number;
  /** 0–100 with one decimal; never goes down, and stays below 100 until all is really over. */
  readonly percent: number;
  /** Bytes read from the source a second, over the last ten: what --max-rate limits. Holes are not read. */
  readonly throughputBps: number;
  /** Undefined while there is no rate to tell from. */
  readonly etaSeconds: number | undefined;
}

export interface DiskProgress extends Amounts {
  readonly diskId: string;
  readonly syncType: SyncType;
  /** Why this disk is copied in full although it need not be; posted and logged. */
  readonly reason: string | undefined;
  /** What is going on right now, for people: "copying", "retry 2: connection lost". */
  readonly note: string | undefined;
  readonly doing: "copying" | "comparing";
  readonly finished: boolean;
  /** Nothing more is copied of it in this run: it failed, or was interrupted. */
  readonly stopped: boolean;
}

export interface ProgressSnapshot {
  readonly stage: Stage;
  /** What is going on within the stage, for people: "creating the snapshot, 45 %". */
  readonly detail: string | undefined;
  readonly stageSeconds: number;
  readonly disks: readonly DiskProgress[];
  readonly total: Amounts;
  /** `full` as soon as one disk is; undefined before the disks are known. */
  readonly syncType: SyncType | undefined;
}

export interface DiskToCopy {
  /** `disk-2000`. */
  readonly diskId: string;
  readonly syncType: SyncType;
  /** Pairs [offset, length, …], sorted and disjoint; undefined: the whole capacity. */
  readonly plannedAreas: Float64Array | undefined;
  readonly capacityBytes: number;
  /** How much of the planned areas an earlier run did, which this one will not report again. */
  readonly alreadyDoneBytes?: number;
  readonly reason?: string;
  /** What is done with it [copying] */
  readonly doing?: "copying" | "comparing";
}

interface TrackerOptions {
  /** Monotonic milliseconds. */
  readonly now?: () => number;
}

/** The kind of a chunk that was not read: the source said that it is zero. */
const holeKind = 2;
const rateWindowMs = 10_000;
/** Longer than the window of the rate shown: an estimate that jumps about helps nobody. */
const etaWindowMs = 60_000;
/** The most that is shown of anything not really over. */
export const percentBeforeEnd = 99;

interface Disk {
  plan: DiskToCopy;
  space: PlannedSpace;
  done: RangeSet;
  transferredBytes: number;
  percentShown: number;
  rate: RateWindow;
  etaRate: RateWindow;
  note: string | undefined;
  finished: boolean;
  stopped: boolean;
}

export class ProgressTracker {
  readonly #now: () => number;
  readonly #disks = new Map<string, Disk>();
  #rate: RateWindow;
  #etaRate: RateWindow;
  #percentShown = 0;
  #stage: Stage = "Discover";
  #detail: string | undefined;
  #stageStartedAtMs: number;

  constructor(options: TrackerOptions = {}) {
    this.#now = options.now ?? (() => performance.now());
    this.#stageStartedAtMs = this.#now();
    this.#rate = new RateWindow(rateWindowMs, this.#stageStartedAtMs);
    this.#etaRate = new RateWindow(etaWindowMs, this.#stageStartedAtMs);
  }

  /** Enters a stage, or changes the detail of the present one. `Complete` lets the total reach 100 %. */
  setStage(stage: Stage, detail?: string): void {
    if (stage !== this.#stage) this.#stageStartedAtMs = this.#now();
    this.#stage = stage;
    this.#detail = detail;
  }

  /** What goes on in the present stage, for people; undefined: nothing worth a word. */
  setDetail(detail: string | undefined): void {
    this.#detail = detail;
  }

  /** A disk and what is to be copied of it. Adding it again (another plan) begins its count anew. */
  addDisk(plan: DiskToCopy): void {
    const space = new PlannedSpace(plan.plannedAreas, plan.capacityBytes);
    const nowMs = this.#now();
    this.#disks.set(plan.diskId, {
      plan: { ...plan, plannedAreas: undefined }, // the areas themselves are not held
      space,
      done: new RangeSet(),
      transferredBytes: Math.min(plan.alreadyDoneBytes ?? 0, space.totalBytes),
      percentShown: this.#disks.get(plan.diskId)?.percentShown ?? 0,
      rate: new RateWindow(rateWindowMs, nowMs),
      etaRate: new RateWindow(etaWindowMs, nowMs),
      note: undefined,
      finished: false,
      stopped: false,
    });
  }

  /** More of a disk's planned areas, behind those that are known; its total grows. */
  extendPlan(diskId: string, areas: Float64Array): void {
    this.#disk(diskId).space.append(areas);
  }

  /** What is to be copied of a disk, as far as that is known. */
  plannedBytes(diskId: string): number {
    return this.#disk(diskId).space.totalBytes;
  }

  /** Completed chunks: triples [offset, length, kind, …], in any order; what was done before counts once. */
  onChunks(diskId: string, triples: Float64Array): void {
    const disk = this.#disk(diskId);
    if (disk.finished) return;
    let addedBytes = 0;
    let readBytes = 0;
    for (let i = 0; i + 2 < triples.length; i += 3) {
      const offset = triples[i]!;
      const end = offset + triples[i + 1]!;
      addedBytes += disk.done.add(disk.space.positionOf(offset), disk.space.positionOf(end));
      if (triples[i + 2] !== holeKind) readBytes += end - offset;
    }
    const leftBytes = disk.space.totalBytes - disk.transferredBytes;
    this.#advance(disk, Math.min(addedBytes, leftBytes), readBytes);
  }

  /** What goes on with one disk, for people; undefined: nothing worth a word. */
  setDiskNote(diskId: string, note: string | undefined): void {
    this.#disk(diskId).note = note;
  }

  /** The disk is copied and flushed: it stands at its total and at 100 %. */
  finishDisk(diskId: string): void {
    const disk = this.#disk(diskId);
    // What is missing here was given up for memory or skipped by the engine; it is no throughput.
    disk.transferredBytes = disk.space.totalBytes;
    disk.finished = true;
    disk.note = undefined;
  }

  /** The copy of the disk ended before its end; `note` says how, for people. */
  stopDisk(diskId: string, note: string): void {
    const disk = this.#disk(diskId);
    disk.stopped = true;
    disk.note = note;
  }

  snapshot(): ProgressSnapshot {
    const nowMs = this.#now();
    const disks = [...this.#disks.values()].map((disk) => diskProgress(disk, nowMs));
    const transferredBytes = sum(disks, (disk) => disk.transferredBytes);
    const totalBytes = sum(disks, (disk) => disk.totalBytes);
    const complete = this.#stage === "Complete";
    this.#percentShown = percentOf(transferredBytes, totalBytes, complete, this.#percentShown);
    const atRest = disks.length > 0 && disks.every((disk) => disk.finished || disk.stopped);
    const anyFull = disks.some((disk) => disk.syncType === "full");
    return {
      stage: this.#stage,
      detail: this.#detail,
      stageSeconds: (nowMs - this.#stageStartedAtMs) / 1000,
      disks,
      total: {
        transferredBytes,
        totalBytes,
        percent: this.#percentShown,
        throughputBps: atRest ? 0 : Math.round(this.#rate.bytesPerSecond(nowMs)),
        etaSeconds: eta(
          totalBytes - transferredBytes,
          atRest ? 0 : this.#etaRate.bytesPerSecond(nowMs),
        ),
      },
      syncType: disks.length === 0 ? undefined : anyFull ? "full" : "incremental",
    };
  }

  /** The rate tells what is read, the time left how the plan gets on. */
  #advance(disk: Disk, doneBytes: number, readBytes: number): void {
    const nowMs = this.#now();
    disk.transferredBytes += doneBytes;
    for (const window of [disk.rate, this.#rate]) window.add(readBytes, nowMs);
    for (const window of [disk.etaRate, this.#etaRate]) window.add(doneBytes, nowMs);
  }

  #disk(diskId: string): Disk {
    const disk = this.#disks.get(diskId);
    if (disk === undefined) throw new RangeError(`no disk ${diskId} was added to the progress`);
    return disk;
  }
}

function diskProgress(disk: Disk, nowMs: number): DiskProgress {
  const { transferredBytes, finished, stopped } = disk;
  const atRest = finished || stopped;
  const totalBytes = disk.space.totalBytes;
  disk.percentShown = percentOf(transferredBytes, totalBytes, finished, disk.percentShown);
  return {
    diskId: disk.plan.diskId,
    syncType: disk.plan.syncType,
    reason: disk.plan.reason,
    note: disk.note,
    doing: disk.plan.doing ?? "copying",
    finished,
    stopped,
    transferredBytes,
    totalBytes,
    percent: disk.percentShown,
    throughputBps: atRest ? 0 : Math.round(disk.rate.bytesPerSecond(nowMs)),
    etaSeconds: eta(totalBytes - transferredBytes, atRest ? 0 : disk.etaRate.bytesPerSecond(nowMs)),
  };
}

/** Rounded down, so that nothing looks more done than it is. */
function percentOf(doneBytes: number, totalBytes: number, over: boolean, shown: number): number {
  if (over) return 100;
  const exact = totalBytes === 0 ? 0 : (doneBytes / totalBytes) * 100;
  return Math.max(shown, Math.min(percentBeforeEnd, Math.floor(exact * 10) / 10));
}

function eta(leftBytes: number, bytesPerSecond: number): number | undefined {
  if (leftBytes <= 0) return 0;
  return bytesPerSecond < 1 ? undefined : Math.ceil(leftBytes / bytesPerSecond);
}

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0);
}
