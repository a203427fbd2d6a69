/**
 * One copy by our engine in a process of its own, so that its CPU time and memory can be told. The
 * job comes as JSON in argv, what it cost goes to standard output. As in the product: whole disk or
 * pages of extents, chunk and checkpoint callbacks, a fresh Engine.
 */
import { open, readFile, writeFile } from "node:fs/promises";
import type { CopyResult, NbdEndpoint } from "../../src/nbd/copy-engine/copy-engine.ts";
import { engineOf } from "./checkout.ts";
import type { Sample } from "./results.ts";

export interface EngineJob {
  source: NbdEndpoint;
  target: NbdEndpoint;
  capacityBytes: number;
  /** A file of pairs of doubles, streamed in; absent: the whole disk. */
  rangesPath?: string;
  targetIsZero?: boolean;
  requestBytes?: number;
  /** Another checkout, whose engine is driven by its own sources. */
  checkout?: string | undefined;
}

export interface EngineReport extends Sample {
  result: CopyResult;
}

/** What the vCenter gives in one answer, roughly. */
const pageExtents = 2000;
const checkpointIntervalMs = 5000;

async function* pages(path: string): AsyncIterable<Float64Array> {
  await using file = await open(path, "r");
  for (;;) {
    const page = new Float64Array(2 * pageExtents);
    const { bytesRead } = await file.read(new Uint8Array(page.buffer));
    if (bytesRead === 0) return;
    yield page.subarray(0, bytesRead / 8);
  }
}

async function residentPeakBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

async function main(job: EngineJob): Promise<void> {
  const { Engine } = await engineOf(job.checkout);
  // From here on the peak is counted anew: what Node took to start is not the engine's.
  await writeFile("/proc/self/clear_refs", "5");
  const idleBytes = await residentPeakBytes();
  const before = process.cpuUsage();
  const startedAt = performance.now();
  using engine = new Engine();
  let chunks = 0;
  const result = await engine.copy({
    source: job.source,
    target: job.target,
    capacityBytes: job.capacityBytes,
    targetIsZero: job.targetIsZero,
    requestBytes: job.requestBytes,
    extents: job.rangesPath === undefined ? undefined : pages(job.rangesPath),
    checkpointIntervalMs,
    onChunks: (triples) => {
      chunks += triples.length / 3;
    },
    onCheckpoint: () => {},
  });
  const wallMs = performance.now() - startedAt;
  const used = process.cpuUsage(before);
  if (chunks === 0) throw new Error("the engine reported no chunk");
  const report: EngineReport = {
    wallMs,
    cpuMs: (used.user + used.system) / 1000,
    peakBytes: (await residentPeakBytes()) - idleBytes,
    result,
  };
  process.stdout.write(JSON.stringify(report));
}

await main(JSON.parse(process.argv[2] ?? "{}") as EngineJob);
