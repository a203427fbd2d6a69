/**
 * The disks that are copied: sparse files whose every block tells where it belongs, so that a block
 * in the wrong place is found. The same seed makes the same disk.
 */
import { type FileHandle, open } from "node:fs/promises";

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

/** Numbers in [0, 1), always the same for a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Writes ranges of a file with bytes that are never zero for a whole block. */
export class BlockWriter {
  readonly #random: () => number;
  readonly #pool = Buffer.alloc(8 * MiB);
  readonly #piece = Buffer.alloc(pieceBytes);

  constructor(seed: number) {
    this.#random = randomNumbers(seed);
    const words = new Uint32Array(this.#pool.buffer, this.#pool.byteOffset, this.#pool.length / 4);
    for (let i = 0; i < words.length; i++) words[i] = (this.#random() * 2 ** 32) >>> 0;
  }

  async write(file: FileHandle, offset: number, length: number): Promise<void> {
    for (let at = offset; at < offset + length; at += pieceBytes) {
      const bytes = Math.min(pieceBytes, offset + length - at);
      const from = Math.floor(this.#random() * (this.#pool.length - pieceBytes));
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
  const random = randomNumbers(4096);
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
    const wanted = smallest * (largest / smallest) ** random();
    const length = Math.min(Math.ceil(wanted / blockBytes) * blockBytes, sizeBytes - at);
    // Zeroes make up half of every fourth piece.
    const zeroBytes = random() < 0.25 ? Math.floor(length / 2 / blockBytes) * blockBytes : 0;
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
    const share = 1.5 * (0.5 + random());
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
  const random = randomNumbers(seed);
  const grain = 64 * KiB;
  const slot = Math.floor(diskBytes / lengths.length / grain) * grain;
  const pairs = new Float64Array(2 * lengths.length);
  lengths.forEach((wanted, i) => {
    const length = Math.min(wanted, slot);
    const room = (slot - length) / grain;
    pairs[2 * i] = i * slot + Math.floor(random() * room) * grain;
    pairs[2 * i + 1] = length;
  });
  return pairs;
}

/** 64 KiB to 2 MiB, most of them short: about 312 KiB on average, as changed areas come. */
export function mixedLengths(count: number): number[] {
  const random = randomNumbers(1500);
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  return Array.from({ length: count }, () => {
    const dice = random();
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
