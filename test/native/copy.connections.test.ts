import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type CopyResult, Engine } from "../../src/nbd/copy-engine.ts";
import { makeDirty, Random } from "./images.ts";
import { sameBytes, startNbdkit, startQemuNbd, tempDir } from "./servers.ts";

const sizeBytes = 64 << 20;

/** A copy that leaves the number of connections to the engine, from nbdkit with these arguments. */
async function copyFrom(...filters: string[]): Promise<CopyResult> {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(1));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const [names, settings] = [
    filters.filter((word) => word.startsWith("--")),
    filters.filter((word) => !word.startsWith("--")),
  ];
  await using source = await startNbdkit(dir.path, "-r", ...names, "file", from, ...settings);
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 << 20 });
  const result = await engine.copy({
    source: { uri: source.uri },
    target: { uri: target.uri },
    capacityBytes: sizeBytes,
    requestBytes: 65536,
    sourceExtents: false,
  });
  assert.ok(await sameBytes(from, to, sizeBytes));
  return result;
}

test("the result counts the connections that were granted, not those that were wished for", async () => {
  const alone = await copyFrom("--filter=limit", "limit=1", "--filter=delay", "rdelay=10ms");
  assert.equal(alone.sourceConnections, 1);
});

test("a source that is far away gets four connections as soon as its first answers show it", async () => {
  const far = await copyFrom("--filter=delay", "rdelay=20ms");
  assert.ok(far.sourceConnections >= 4, `${far.sourceConnections} connections`);
});

test("a distant target that caps each connection gets more of them", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  const bytes = 192 << 20;
  await makeDirty(from, bytes, new Random(2));
  await writeFile(to, "");
  await truncate(to, bytes);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  const capped = ["wdelay=8ms", "connection-rate=400M", "burstiness=0.05"];
  const filters = ["--filter=delay", "--filter=rate"];
  await using target = await startNbdkit(dir.path, ...filters, "file", to, ...capped);
  using engine = new Engine();
  const first = Math.min(availableParallelism(), 4);
  // A machine that others keep busy gets no more of them, rightly; so that is tried again.
  let granted = 0;
  for (let attempt = 0; attempt < 6 && granted <= first; attempt++) {
    const result = await engine.copy({
      ...{ source, target, capacityBytes: bytes },
      sourceExtents: false,
    });
    assert.ok(await sameBytes(from, to, bytes));
    granted = result.targetConnections;
  }
  assert.ok(granted > first, `${granted} connections`);
});
