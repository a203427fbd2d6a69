/**
 * What an extent costs, and what a million of them take in memory. The source computes its bytes
 * (nbdkit's pattern plugin: every eight bytes are their own offset), so only the target needs memory.
 */
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { runEngine } from "./contenders.ts";
import { writeRanges } from "./disks.ts";
import { type ExtentScaleResult, median, type Sample } from "./results.ts";
import { startSource, startTarget } from "./servers.ts";
import { seconds, type Workbench } from "./workbench.ts";

const extentBytes = 4096;
/** Further apart than gaps are merged, so that each extent stays one. */
const strideBytes = 128 * 1024;

export async function measureExtentScale(bench: Workbench): Promise<ExtentScaleResult[]> {
  const results: ExtentScaleResult[] = [];
  for (const extents of bench.scale.extentCounts) {
    const result = await measureOne(
      bench,
      extents,
      extents >= 1_000_000 ? 1 : Math.min(bench.pairs, 3),
    );
    bench.log(
      `${extents} extents: ${seconds(result.medianMs)}, ` +
        `${((1000 * result.medianMs) / extents).toFixed(1)} µs each, ` +
        `${(result.peakBytes / 2 ** 20).toFixed(0)} MiB`,
    );
    results.push(result);
  }
  return results;
}

async function measureOne(
  bench: Workbench,
  extents: number,
  runs: number,
): Promise<ExtentScaleResult> {
  const sizeBytes = extents * strideBytes;
  const ranges = new Float64Array(2 * extents);
  for (let i = 0; i < extents; i++) ranges.set([i * strideBytes, extentBytes], 2 * i);
  const rangesPath = await writeRanges(join(bench.folder, "scale-ranges"), ranges);
  await using target = await startTarget("nbd-server", bench.folder, sizeBytes);
  await using source = await startSource(
    {
      plugin: ["pattern", `size=${sizeBytes}`],
      ...{ latencyMs: 0, connections: "several", connectionRate: 0 },
    },
    bench.folder,
  );
  const samples: Sample[] = [];
  for (let run = 0; run < runs; run++) {
    await target.reset({ sizeBytes });
    const { result: _, ...sample } = await runEngine({
      source: { uri: source.uri },
      target: { uri: target.uri },
      capacityBytes: sizeBytes,
      rangesPath,
    });
    await checkPattern(target.path, extents);
    samples.push(sample);
  }
  return {
    ...{ extents, extentBytes, samples },
    medianMs: median(samples.map(({ wallMs }) => wallMs)),
    peakBytes: Math.max(...samples.map(({ peakBytes }) => peakBytes)),
  };
}

/** Every extent holds its offsets, and nothing else of the file is allocated. */
async function checkPattern(path: string, extents: number): Promise<void> {
  await using file = await open(path, "r");
  const expected = Buffer.alloc(extentBytes);
  const actual = Buffer.alloc(extentBytes);
  for (let i = 0; i < extents; i++) {
    const offset = i * strideBytes;
    const high = Math.floor(offset / 2 ** 32);
    const low = offset % 2 ** 32;
    for (let at = 0; at < extentBytes; at += 8) {
      expected.writeUInt32BE(high, at);
      expected.writeUInt32BE(low + at, at + 4);
    }
    await file.read(actual, 0, extentBytes, offset);
    if (!actual.equals(expected)) throw new Error(`extent ${i} at ${offset} is wrong`);
  }
  const { blocks } = await stat(path);
  if (blocks * 512 !== extents * extentBytes)
    throw new Error(`${blocks * 512} bytes are allocated, not ${extents * extentBytes}`);
}
