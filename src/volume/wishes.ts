/** Ranges that parsers ask for, the more important ones first when there is no room for all. */
import { intersect, normalize, whole } from "../ranges.ts";
import type { Space } from "./space.ts";

/**
 * What a guard can afford to read before and after each sync of a quarter of an hour: 32 MiB are
 * some seconds over a slow line. A machine with ten file systems needs a third of both.
 */
const rangesMax = 256;
const bytesMax = 32 * 1024 * 1024;

/** The first part of a partition, where all file systems that we know keep a superblock. */
const superblocksBytes = 128 * 1024;
const headBytes = 1024 * 1024;
const sectorBytes = 512;

type Rank = "superblocks" | "structure" | "head";
const ranks: readonly Rank[] = ["superblocks", "structure", "head"];

export class Wishes {
  readonly #ranges: { rank: Rank; offset: number; length: number }[] = [];

  /** The first MiB of a disk, partition or logical volume. */
  head(space: Space): void {
    this.#add("superblocks", space, 0, superblocksBytes);
    this.#add("head", space, superblocksBytes, headBytes - superblocksBytes);
  }

  /** What a mount writes elsewhere. */
  structure(space: Space, offset: number, length: number): void {
    this.#add("structure", space, offset, length);
  }

  /** Pairs [offset, length], sorted and disjoint, in whole sectors: at most 256 and 32 MiB. */
  ranges(capacityBytes: number): Float64Array {
    const pairs: number[] = [];
    let left = bytesMax;
    for (const rank of ranks) {
      for (const { offset, length } of this.#ranges.filter((range) => range.rank === rank)) {
        if (pairs.length === 2 * rangesMax || length > left) continue;
        const start = offset - (offset % sectorBytes);
        pairs.push(start, Math.ceil((offset + length) / sectorBytes) * sectorBytes - start);
        left -= length;
      }
    }
    return intersect(normalize(Float64Array.from(pairs)), whole(capacityBytes));
  }

  #add(rank: Rank, space: Space, offset: number, length: number): void {
    for (const piece of space.onDisk(offset, length)) {
      this.#ranges.push({ rank, offset: piece.diskOffset, length: piece.length });
    }
  }
}
