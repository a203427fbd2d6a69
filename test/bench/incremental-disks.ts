/** A disk that has changed in places, the target as the last run left it, and what it must become. */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { BlockWriter, totalBytes, writeRanges } from "./disks.ts";
import { runPlain } from "./tools.ts";

const markBytes = 4096;

export interface Change {
  sizeBytes: number;
  ranges: Float64Array;
  rangesPath: string;
  payloadBytes: number;
  sourcePath: string;
  /** The target before a run; undefined: an empty one. */
  beforePath: string | undefined;
  /** The target after it. */
  expectedPath: string;
}

/**
 * With old content the target holds other bytes in the changed ranges, and source and target differ
 * just behind each of them too: a copier that skips, or that writes too much, is found out. Without
 * it the target starts empty, which takes a quarter of the memory.
 */
export async function createChange(options: {
  folder: string;
  ranges: Float64Array;
  sizeBytes: number;
  oldContent: boolean;
}): Promise<Change> {
  const { folder, ranges, sizeBytes, oldContent } = options;
  const path = (name: string) => join(folder, `change-${name}`);
  await fill(path("source"), sizeBytes, ranges, { seed: 2, marks: oldContent });
  const rangesPath = await writeRanges(path("ranges"), ranges);
  const change = { sizeBytes, ranges, rangesPath, payloadBytes: totalBytes(ranges) };
  if (!oldContent)
    return {
      ...change,
      sourcePath: path("source"),
      beforePath: undefined,
      expectedPath: path("source"),
    };
  await fill(path("before"), sizeBytes, ranges, { seed: 3, marks: true });
  await runPlain("cp", ["--sparse=always", path("before"), path("expected")]);
  await overlay(path("source"), path("expected"), ranges);
  return {
    ...change,
    sourcePath: path("source"),
    beforePath: path("before"),
    expectedPath: path("expected"),
  };
}

async function fill(
  path: string,
  sizeBytes: number,
  ranges: Float64Array,
  how: { seed: number; marks: boolean },
): Promise<void> {
  const writer = new BlockWriter(how.seed);
  await using file = await open(path, "w");
  await file.truncate(sizeBytes);
  for (let i = 0; i < ranges.length; i += 2) {
    const end = ranges[i]! + ranges[i + 1]!;
    const next = ranges[i + 2] ?? sizeBytes;
    await writer.write(file, ranges[i]!, ranges[i + 1]!);
    if (how.marks && end + markBytes <= next) await writer.write(file, end, markBytes);
  }
}

async function overlay(from: string, to: string, ranges: Float64Array): Promise<void> {
  await using source = await open(from, "r");
  await using target = await open(to, "r+");
  for (let i = 0; i < ranges.length; i += 2) {
    const buffer = Buffer.alloc(ranges[i + 1]!);
    await source.read(buffer, 0, buffer.length, ranges[i]!);
    await target.write(buffer, 0, buffer.length, ranges[i]!);
  }
}
