/** One virtual disk: its live image, and its change map. */

import { constants, renameSync, statSync } from "node:fs";
import { copyFile, type FileHandle, mkdir, open } from "node:fs/promises";
import path from "node:path";
import { ChangeMap } from "./change-map.ts";
import { allocatedRanges, copyImage, fillDisk, zeroRange } from "./disk-content.ts";
import type { DiskRecord } from "./records.ts";
import type { DiskSpec } from "./vm-spec.ts";

export class LabDisk {
  readonly record: DiskRecord;
  /** Live image, raw and sparse. Write through `LabVm.write` only, or changes go untracked. */
  readonly imagePath: string;
  readonly #mapPath: string;
  readonly #file: FileHandle;
  readonly #map: ChangeMap;

  private constructor(record: DiskRecord, imagePath: string, file: FileHandle) {
    this.record = record;
    this.imagePath = imagePath;
    this.#mapPath = mapPathOf(imagePath);
    this.#file = file;
    this.#map = new ChangeMap(this.#mapPath, record.capacityBytes);
  }

  /** Makes the image of a new disk. */
  static async create(record: DiskRecord, directory: string, content: Partial<DiskSpec>) {
    await mkdir(directory, { recursive: true });
    const imagePath = imagePathOf(directory, record.key);
    if (content.image !== undefined) await copyImage(content.image, imagePath);
    const file = await open(imagePath, constants.O_RDWR | constants.O_CREAT, 0o644);
    await file.truncate(record.capacityBytes);
    const disk = new LabDisk(record, imagePath, file);
    if (content.fill) {
      await fillDisk(file, record.capacityBytes, content.fill, (offset, length) =>
        disk.#map.markAllocated(offset, length),
      );
    } else if (content.image !== undefined) {
      const ranges = await allocatedRanges(imagePath);
      for (let at = 0; at < ranges.length; at += 2) {
        disk.#map.markAllocated(ranges[at]!, ranges[at + 1]!);
      }
    }
    return disk;
  }

  static async reopen(record: DiskRecord, directory: string): Promise<LabDisk> {
    const imagePath = imagePathOf(directory, record.key);
    return new LabDisk(record, imagePath, await open(imagePath, "r+"));
  }

  /** The change map goes first: a death between the two leaves a false positive, never a miss. */
  async write(offset: number, data: Buffer | { zeroLength: number }): Promise<void> {
    const length = Buffer.isBuffer(data) ? data.length : data.zeroLength;
    this.#checkRange(offset, length);
    this.#map.mark(offset, length, this.record.epoch);
    if (Buffer.isBuffer(data)) await this.#file.write(data, 0, length, offset);
    else await zeroRange(this.imagePath, this.#file, offset, length);
  }

  /** Copies image and change map; the caller keeps the guest from writing meanwhile. */
  async freezeInto(directory: string): Promise<void> {
    const frozenPath = imagePathOf(directory, this.record.key);
    await copyImage(this.imagePath, frozenPath);
    await copyFile(this.#mapPath, mapPathOf(frozenPath));
  }

  /** Goes back to a frozen copy; the caller begins a new tracking history. */
  async revertTo(directory: string): Promise<void> {
    const frozenPath = imagePathOf(directory, this.record.key);
    await copyImage(frozenPath, this.imagePath);
    await this.#file.truncate(this.record.capacityBytes);
    this.#map.restore(mapPathOf(frozenPath));
  }

  async grow(capacityBytes: number): Promise<void> {
    this.record.capacityBytes = capacityBytes;
    await this.#file.truncate(capacityBytes);
    this.#map.grow(capacityBytes);
  }

  changedAfter(epoch: number): Float64Array {
    return this.#map.changedAfter(epoch);
  }

  allocated(): Float64Array {
    return this.#map.allocated();
  }

  async close(): Promise<void> {
    this.#map.close();
    await this.#file.close();
  }

  #checkRange(offset: number, length: number): void {
    const ok =
      offset % 512 === 0 && length % 512 === 0 && offset + length <= this.record.capacityBytes;
    if (!ok) throw new RangeError(`Guest write ${offset}+${length} is outside disk or sectors`);
  }
}

/** Renames image and map of a closed disk. */
export function moveDiskFiles(directory: string, key: number, newKey: number): void {
  const from = imagePathOf(directory, key);
  const to = imagePathOf(directory, newKey);
  renameSync(from, to);
  renameSync(mapPathOf(from), mapPathOf(to));
}

/** The change map copied at a snapshot, for reading; to be closed. */
export function openFrozenMap(frozenImage: string): ChangeMap {
  return new ChangeMap(mapPathOf(frozenImage), statSync(frozenImage).size);
}

export function imagePathOf(directory: string, key: number): string {
  return path.join(directory, `disk-${key}.img`);
}

export function mapPathOf(imagePath: string): string {
  return imagePath.replace(/\.img$/, ".ctk");
}
