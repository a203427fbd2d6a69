/**
 * The disks that are copied: sparse files whose every block tells where it belongs, so that a block
 * in the wrong place is found. The same seed makes the same disk.
 */
import { type FileHandle, open } from "node:fs/promises";
import { Random } from "../random.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const blockBytes = 4 * KiB;
const pieceBytes = MiB;

export interface Disk {
  path: string;
  sizeBytes: number;
  /** What a source reports as data, zeroes that were written included. */
  allocatedBytes: number;
  nonZeroBytes: number;
  /** Pairs [offset, length, …]. */
  dataRanges: Float64Array;
  holeRanges: Float64Array;
}

/** Writes ranges of a file with bytes that are never zero for a whole block. */
export class BlockWriter {
  readonly #random: Random;
  readonly #pool = Buffer.alloc(8 * MiB);
  readonly #piece = Buffer.alloc(pieceBytes);

  constructor(seed: number) {
    this.#random = new Random(seed);
    const words = new Uint32Array(this.#pool.buffer, this.#pool.byteOffset, this.#pool.length / 4);
    for (let i = 0; i < words.length; i++) words[i] = this.#random.below(2 ** 32);
  }

  async write(file: FileHandle, offset: number, length: number): Promise<void> {
    for (let at = offset; at < offset + length; at += pieceBytes) {
      const bytes = Math.min(pieceBytes, offset + length - at);
      const from = this.#random.below(this.#pool.length - pieceBytes);
      this.#pool.copy(this.#piece, 0, from, from + bytes);
      for (let i = 0; i + 8 <= bytes; i += blockBytes) this.#piece.writeDoubleLE(at + i + 1, i);
      await file.write(this.#piece, 0, bytes, at);
    }
  }
}

/**
 * About 40 % of the disk is allocated, in pieces of 64 KiB to 16 MiB as file systems leave them;
 * an eighth of that holds zeroes.
 */
export async function createSparseDisk(path: string, sizeBytes: number): Promise<Disk> {
  const random = new Random(4096);
  const writer = new BlockWriter(1);
  const zeroes = Buffer.alloc(pieceBytes);
  const data: number[] = [];
  const holes: number[] = [];
  let allocatedBytes = 0;
  let nonZeroBytes = 0;
  await using file = await open(path, "w");
  await file.truncate(sizeBytes);
  const largest = Math.min(16 * MiB, sizeBytes / 16);
  const smallest = Math.min(64 * KiB, largest);
  for (let at = 0; at < sizeBytes; ) {
    const wanted = smallest * (largest / smallest) ** random.next();
    const length = Math.min(Math.ceil(wanted / blockBytes) * blockBytes, sizeBytes - at);
    // Zeroes make up half of every fourth piece.
    const zeroBytes = random.chance(0.25) ? Math.floor(length / 2 / blockBytes) * blockBytes : 0;
    await writer.write(file, at, length - zeroBytes);
    for (let done = 0; done < zeroBytes; done += pieceBytes)
      await file.write(
        zeroes,
        0,
        Math.min(pieceBytes, zeroBytes - done),
        at + length - zeroBytes + done,
      );
    data.push(at, length);
    allocatedBytes += length;
    nonZeroBytes += length - zeroBytes;
    at += length;
    const share = 1.5 * (0.5 + random.next());
    const hole = Math.min(Math.ceil((length * share) / blockBytes) * blockBytes, sizeBytes - at);
    if (hole > 0) holes.push(at, hole);
    at += hole;
  }
  return {
    path,
    sizeBytes,
    allocatedBytes,
    nonZeroBytes,
    dataRanges: Float64Array.from(data),
    holeRanges: Float64Array.from(holes),
  };
}

/** Extents of the given lengths, one somewhere in each of as many equal slots, in steps of 64 KiB. */
export function spreadExtents(lengths: number[], diskBytes: number, seed: number): Float64Array {
  const random = new Random(seed);
  const grain = 64 * KiB;
  const slot = Math.floor(diskBytes / lengths.length / grain) * grain;
  const pairs = new Float64Array(2 * lengths.length);
  lengths.forEach((wanted, i) => {
    const length = Math.min(wanted, slot);
    const room = (slot - length) / grain;
    pairs[2 * i] = i * slot + random.below(room) * grain;
    pairs[2 * i + 1] = length;
  });
  return pairs;
}

/** 64 KiB to 2 MiB, most of them short: about 312 KiB on average, as changed areas come. */
export function mixedLengths(count: number): number[] {
  const random = new Random(1500);
  const between = (low: number, high: number) => low + random.below(high - low + 1);
  return Array.from({ length: count }, () => {
    const dice = random.next();
    const steps = dice < 0.6 ? between(1, 2) : dice < 0.9 ? between(3, 8) : between(16, 31);
    return steps * 64 * KiB;
  });
}

export function totalBytes(ranges: Float64Array): number {
  let total = 0;
  for (let i = 1; i < ranges.length; i += 2) total += ranges[i]!;
  return total;
}

/** As the C tools and the engine's child read them. */
export async function writeRanges(path: string, ranges: Float64Array): Promise<string> {
  await using file = await open(path, "w");
  await file.writeFile(new Uint8Array(ranges.buffer, ranges.byteOffset, ranges.byteLength));
  return path;
}
