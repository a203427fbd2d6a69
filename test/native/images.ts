/** Disk images for the engine's tests, made from a seed. */
import { open, readFile } from "node:fs/promises";
import type { Random } from "../random.ts";

/** A sparse file with some data, some written zeroes, holes, and something in its last byte. */
export async function makeImage(
  path: string,
  sizeBytes: number,
  random: Random,
  pieces = 12,
): Promise<void> {
  await using file = await open(path, "w");
  await file.truncate(sizeBytes);
  for (let i = 0; i < pieces; i++) {
    const length = Math.min(random.pick([512, 4096, 65536, 300_000, 1_500_000]), sizeBytes);
    const unit = random.pick([1, 512, 4096, 65536]);
    const offset = Math.min(random.below(sizeBytes), sizeBytes - length);
    const start = offset - (offset % unit);
    const bytes = random.chance(0.2) ? Buffer.alloc(length) : random.bytes(length);
    await file.write(bytes, 0, length, start);
  }
  if (random.chance(0.7)) await file.write(random.bytes(1), 0, 1, sizeBytes - 1);
}

/** A file of nothing but a hole. */
export async function makeSparse(path: string, sizeBytes: number): Promise<void> {
  await using file = await open(path, "w");
  await file.truncate(sizeBytes);
}

/** Old content all over: what a target may hold before a full copy. */
export async function makeDirty(path: string, sizeBytes: number, random: Random): Promise<void> {
  await using file = await open(path, "w");
  const block = random.bytes(1 << 20);
  for (let at = 0; at < sizeBytes; at += block.length)
    await file.write(block, 0, Math.min(block.length, sizeBytes - at), at);
}

/** Sorted, disjoint pairs within the disk, on multiples of `unit` but for the end. */
export function randomExtents(
  sizeBytes: number,
  random: Random,
  count: number,
  unit: number,
): Float64Array {
  const blocks = Math.ceil(sizeBytes / unit);
  const chosen = new Set<number>();
  for (let i = 0; i < count; i++) {
    const first = random.below(blocks);
    const length = random.pick([1, 1, 2, 5, 40]);
    for (let block = first; block < Math.min(first + length, blocks); block++) chosen.add(block);
  }
  const pairs: number[] = [];
  for (const block of [...chosen].sort((a, b) => a - b)) {
    const offset = block * unit;
    const length = Math.min(unit, sizeBytes - offset);
    const last = pairs.length - 2;
    const touches = last >= 0 && (pairs[last] as number) + (pairs[last + 1] as number) === offset;
    if (touches && random.chance(0.8)) pairs[last + 1] = (pairs[last + 1] as number) + length;
    else pairs.push(offset, length);
  }
  return Float64Array.from(pairs);
}

/** What the target must hold after `extents` were copied: the old bytes with the new ranges in them. */
export async function patched(
  oldPath: string,
  newPath: string,
  extents: Float64Array,
): Promise<Buffer> {
  const [bytes, source] = await Promise.all([readFile(oldPath), readFile(newPath)]);
  for (let i = 0; i < extents.length; i += 2) {
    const offset = extents[i] as number;
    source.copy(bytes, offset, offset, offset + (extents[i + 1] as number));
  }
  return bytes;
}
