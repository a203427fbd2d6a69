/** Bytes for disks, made from a seed, and the ways a file gets and loses them. */

import { execFile } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { promisify } from "node:util";
import { Random } from "../../random.ts";

const run = promisify(execFile);
const mebibyte = 1_048_576;

/** How a new disk is filled: MiB by MiB as data, written zeroes, or (the rest) a hole. */
export interface FillSpec {
  seed: number;
  /** Share of the disk that holds random data, 0 to 1. */
  dataRatio: number;
  /** Share of the disk that was written with zeroes, 0 to 1. */
  zeroRatio?: number;
}

/** Bytes that look random, the same for the same seed. */
export function randomBytesOf(seed: number | string, length: number): Buffer {
  const key = createHash("sha256").update(String(seed)).digest();
  const cipher = createCipheriv("aes-128-ctr", key.subarray(0, 16), key.subarray(16, 32));
  return cipher.update(Buffer.alloc(length));
}

/** Fills `file` by `spec`; `onAllocated` hears of each range that is not a hole. */
export async function fillDisk(
  file: FileHandle,
  capacityBytes: number,
  spec: FillSpec,
  onAllocated: (offset: number, length: number) => void,
): Promise<void> {
  const random = new Random(spec.seed);
  for (let offset = 0; offset < capacityBytes; offset += mebibyte) {
    const length = Math.min(mebibyte, capacityBytes - offset);
    const pick = random.next();
    if (pick >= spec.dataRatio + (spec.zeroRatio ?? 0)) continue;
    const bytes =
      pick < spec.dataRatio
        ? randomBytesOf(`${spec.seed}/${offset}`, length)
        : Buffer.alloc(length);
    await file.write(bytes, 0, length, offset);
    onAllocated(offset, length);
  }
}

/** Makes a range of a file zero, by a hole where it is large enough to be worth a process. */
export async function zeroRange(
  path: string,
  file: FileHandle,
  offset: number,
  length: number,
): Promise<void> {
  if (length >= 262_144) {
    await run("fallocate", ["--punch-hole", `--offset=${offset}`, `--length=${length}`, path]);
    return;
  }
  await file.write(Buffer.alloc(length), 0, length, offset);
}

/** Ranges of a raw image that its file system has allocated, as pairs [offset, length]. */
export async function allocatedRanges(path: string): Promise<Float64Array> {
  const { stdout } = await run("qemu-img", ["map", "-f", "raw", "--output=json", path], {
    maxBuffer: 268_435_456,
  });
  const map = JSON.parse(stdout) as { start: number; length: number; data: boolean }[];
  return Float64Array.from(
    map.filter((entry) => entry.data).flatMap((entry) => [entry.start, entry.length]),
  );
}

/** Copies an image with its holes; cheap where the file system shares blocks. */
export async function copyImage(from: string, to: string): Promise<void> {
  await run("cp", ["--sparse=always", "--reflink=auto", "--", from, to]);
}
