/** Addresses of a disk, a partition or a logical volume, all read through the disk. */
import { Fields, NotUnderstood } from "./fields.ts";

/** Bytes of the disk. Its errors (a connection lost) are not caught in this folder. */
export type ReadDisk = (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;

const blockBytes = 64 * 1024;
/** So much is read of one disk at most: several times what a disk with ten file systems takes. */
const blocksMax = 512;
const blocksKept = 64;

/** Reads the disk in blocks, keeps the last ones, and stops at a limit. */
export class DiskBlocks {
  readonly capacityBytes: number;
  readonly #read: ReadDisk;
  readonly #kept = new Map<number, Uint8Array>();
  #left = blocksMax;

  constructor(read: ReadDisk, capacityBytes: number) {
    this.#read = read;
    this.capacityBytes = capacityBytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let at = offset; at < offset + length; ) {
      const start = at - (at % blockBytes);
      const block = await this.#block(start);
      const part = block.subarray(at - start, at - start + (offset + length - at));
      bytes.set(part, at - offset);
      at += part.length;
    }
    return bytes;
  }

  async #block(start: number): Promise<Uint8Array> {
    const kept = this.#kept.get(start);
    if (kept) return kept;
    if (this.#left-- <= 0) throw new NotUnderstood("too much to read");
    const length = Math.min(blockBytes, this.capacityBytes - start);
    const block = await this.#read(start, length);
    if (block.length !== length) throw new Error(`${block.length} bytes were read, not ${length}`);
    this.#kept.set(start, block);
    if (this.#kept.size > blocksKept) this.#kept.delete(this.#kept.keys().next().value!);
    return block;
  }
}

/** Where a stretch of a space lies on the disk. */
export interface Piece {
  readonly offset: number;
  readonly diskOffset: number;
  readonly length: number;
}

/** A run of addresses from 0 on that lies on the disk in one or more pieces, perhaps with gaps. */
export class Space {
  readonly #disk: DiskBlocks;
  readonly #pieces: readonly Piece[];

  /** Pieces that leave the disk are left out. */
  constructor(disk: DiskBlocks, pieces: readonly Piece[]) {
    this.#disk = disk;
    this.#pieces = pieces
      .filter(
        ({ offset, diskOffset, length }) =>
          [offset, diskOffset, length].every((value) => Number.isSafeInteger(value)) &&
          offset >= 0 &&
          diskOffset >= 0 &&
          length > 0 &&
          diskOffset < disk.capacityBytes,
      )
      .map((piece) => ({
        ...piece,
        length: Math.min(piece.length, disk.capacityBytes - piece.diskOffset),
      }))
      .sort((a, b) => a.offset - b.offset);
  }

  static ofDisk(disk: DiskBlocks): Space {
    return new Space(disk, [{ offset: 0, diskOffset: 0, length: disk.capacityBytes }]);
  }

  get sizeBytes(): number {
    return this.#pieces.reduce((size, { offset, length }) => Math.max(size, offset + length), 0);
  }

  /** @throws NotUnderstood where a byte of it is not on this disk; the reader's errors */
  async read(offset: number, length: number): Promise<Fields> {
    const found = this.onDisk(offset, length);
    const lengths = found.reduce((sum, piece) => sum + piece.length, 0);
    if (lengths !== length) throw new NotUnderstood(`${length} bytes at ${offset} are not here`);
    const bytes = new Uint8Array(length);
    for (const piece of found) {
      bytes.set(await this.#disk.read(piece.diskOffset, piece.length), piece.offset - offset);
    }
    return new Fields(bytes);
  }

  /** What of the first `lengthMax` bytes is there in one piece from 0 on. */
  async readHead(lengthMax: number): Promise<Fields> {
    const [first] = this.onDisk(0, lengthMax);
    const length = first?.offset === 0 ? first.length : 0;
    return await this.read(0, length);
  }

  /** The part of a range that lies on this disk. */
  onDisk(offset: number, length: number): Piece[] {
    return this.#pieces.flatMap((piece) => {
      const start = Math.max(offset, piece.offset);
      const end = Math.min(offset + length, piece.offset + piece.length);
      if (!(end > start)) return [];
      const diskOffset = piece.diskOffset + (start - piece.offset);
      return [{ offset: start, diskOffset, length: end - start }];
    });
  }

  /** A partition: a space of its own, clipped to this one. */
  part(offset: number, length: number): Space {
    const pieces = this.onDisk(offset, length);
    return new Space(
      this.#disk,
      pieces.map((piece) => ({ ...piece, offset: piece.offset - offset })),
    );
  }

  /** Another arrangement of this space's parts, as a logical volume is. */
  arranged(pieces: readonly { offset: number; at: number; length: number }[]): Space {
    const moved = pieces.flatMap(({ offset, at, length }) =>
      this.onDisk(at, length).map((piece) => ({ ...piece, offset: offset + piece.offset - at })),
    );
    return new Space(this.#disk, moved);
  }
}
