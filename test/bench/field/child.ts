/**
 * Copies on one engine, of this checkout or another one: the job comes as JSON in argv, how long each took goes to
 * standard output. A copy without end is killed.
 */
import { mapLimited } from "../../../src/map-limited.ts";
import { engineOf } from "../checkout.ts";

export interface FieldJob {
  /** Another checkout, whose engine is driven by its own sources. */
  checkout?: string | undefined;
  sourceUri: string;
  targetUri: string;
  capacityBytes: number;
  copies: number;
  atOnce: number;
  sourceConnections?: number;
  targetConnections?: number;
  requestBytes?: number;
  flushTimeoutMs?: number;
  checkpointIntervalMs?: number;
  maxBytesPerSecond?: number;
}

async function main(job: FieldJob): Promise<void> {
  const { Engine } = await engineOf(job.checkout);
  const { sourceConnections, targetConnections, flushTimeoutMs, maxBytesPerSecond } = job;
  using engine = new Engine({ flushTimeoutMs, maxBytesPerSecond });
  const copies = Array.from({ length: job.copies });
  const startedAt = performance.now();
  const eachMs = await mapLimited(copies, job.atOnce, async () => {
    const begun = performance.now();
    await engine.copy({
      source: { uri: job.sourceUri, ...(sourceConnections && { connections: sourceConnections }) },
      target: { uri: job.targetUri, ...(targetConnections && { connections: targetConnections }) },
      capacityBytes: job.capacityBytes,
      ...(job.requestBytes && { requestBytes: job.requestBytes }),
      ...(job.checkpointIntervalMs && { checkpointIntervalMs: job.checkpointIntervalMs }),
      onChunks: () => {},
      onCheckpoint: () => {},
    });
    return performance.now() - begun;
  });
  process.stdout.write(JSON.stringify({ eachMs, allMs: performance.now() - startedAt }));
}

await main(JSON.parse(process.argv[2] ?? "{}") as FieldJob);
