/**
 * Changed block tracking of one disk: per 64 KiB block, the epoch of its last change and whether it was ever
 * allocated. Kept in a file that is written before the image is, so that a kill -9 loses no change.
 */

import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";

export const blockBytes = 65_536;
const allocatedBit = 0x8000_0000;
const epochMask = 0x7fff_ffff;

export class ChangeMap {
  readonly #file: number;
  #blocks: Uint32Array<ArrayBuffer>;
  #capacityBytes: number;

  /** Opens or creates the map file for a disk of this capacity. */
  constructor(path: string, capacityBytes: number) {
    this.#file = openSync(path, "a+");
    closeSync(this.#file);
    this.#file = openSync(path, "r+");
    this.#capacityBytes = capacityBytes;
    this.#blocks = new Uint32Array(blockCount(capacityBytes));
    ftruncateSync(this.#file, this.#blocks.byteLength);
    readSync(this.#file, this.#blocks, 0, this.#blocks.byteLength, 0);
  }

  /** Notes a change of these bytes in `epoch`; to be called before they are written to the image. */
  mark(offset: number, length: number, epoch: number): void {
    if (length === 0) return;
    const first = Math.floor(offset / blockBytes);
    const last = Math.floor((offset + length - 1) / blockBytes);
    this.#blocks.fill((allocatedBit | epoch) >>> 0, first, last + 1);
    this.#save(first, last + 1);
  }

  /** Notes that these bytes are allocated, without a change. */
  markAllocated(offset: number, length: number): void {
    if (length === 0) return;
    const first = Math.floor(offset / blockBytes);
    const last = Math.floor((offset + length - 1) / blockBytes);
    for (let at = first; at <= last; at += 1) {
      this.#blocks[at] = (this.#blocks[at]! | allocatedBit) >>> 0;
    }
    this.#save(first, last + 1);
  }

  /** Adjacent blocks changed after `epoch`, as pairs [offset, length], clipped to the capacity. */
  changedAfter(epoch: number): Float64Array {
    return this.#runs((block) => (block & epochMask) > epoch);
  }

  allocated(): Float64Array {
    return this.#runs((block) => block >= allocatedBit);
  }

  grow(capacityBytes: number): void {
    const blocks = new Uint32Array(blockCount(capacityBytes));
    blocks.set(this.#blocks);
    this.#blocks = blocks;
    this.#capacityBytes = capacityBytes;
    ftruncateSync(this.#file, blocks.byteLength);
  }

  /** Takes over the content of a map file that was copied at a snapshot. */
  restore(path: string): void {
    const frozen = openSync(path, "r");
    readSync(frozen, this.#blocks, 0, this.#blocks.byteLength, 0);
    closeSync(frozen);
    this.#save(0, this.#blocks.length);
  }

  close(): void {
    closeSync(this.#file);
  }

  #save(firstBlock: number, endBlock: number): void {
    const bytes = this.#blocks.subarray(firstBlock, endBlock);
    writeSync(this.#file, bytes, 0, bytes.byteLength, firstBlock * 4);
  }

  #runs(wanted: (block: number) => boolean): Float64Array {
    const pairs: number[] = [];
    for (let at = 0; at < this.#blocks.length; at += 1) {
      if (!wanted(this.#blocks[at]!)) continue;
      const first = at;
      while (at < this.#blocks.length && wanted(this.#blocks[at]!)) at += 1;
      const offset = first * blockBytes;
      pairs.push(offset, Math.min(at * blockBytes, this.#capacityBytes) - offset);
    }
    return Float64Array.from(pairs);
  }
}

function blockCount(capacityBytes: number): number {
  return Math.ceil(capacityBytes / blockBytes);
}
