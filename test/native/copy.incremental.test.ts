import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Engine } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage, patched, randomExtents } from "./images.ts";
import { startNbdkit, startQemuNbd } from "./servers.ts";

const MiB = 1 << 20;
const KiB = 1024;

/** [offset, length] of every write, write-zeroes and trim in a log of nbdkit's log filter. */
async function changesIn(log: string): Promise<[number, number][]> {
  const lines = (await readFile(log, "utf8")).split("\n");
  return lines.flatMap((line) => {
    const found = /\b(?:Write|Zero|Trim) id=\d+ offset=(0x[0-9a-f]+) count=(0x[0-9a-f]+)/.exec(
      line,
    );
    return found ? [[Number(found[1]), Number(found[2])] as [number, number]] : [];
  });
}

test("an incremental copy writes the changed blocks and nothing else, also when it reads across gaps", async () => {
  await using dir = await tempDir();
  const [from, to, log] = ["from", "to", "log"].map((name) => join(dir.path, name)) as [
    string,
    string,
    string,
  ];
  const sizeBytes = 32 * MiB + 512;
  await makeImage(from, sizeBytes, new Random(1), 60);
  await makeDirty(to, sizeBytes, new Random(2));
  const extents = randomExtents(sizeBytes, new Random(3), 80, 64 * KiB);
  const want = await patched(to, from, extents);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdkit(dir.path, "--filter=log", "file", to, `logfile=${log}`);
  using engine = new Engine();
  const result = await engine.copy({
    source,
    target,
    capacityBytes: sizeBytes,
    extents,
    gapBytes: 256 * KiB,
  });
  assert.ok((await readFile(to)).equals(want), "the target differs");
  let wanted = 0;
  for (let i = 1; i < extents.length; i += 2) wanted += extents[i] as number;
  const changes = await changesIn(log);
  const changed = changes.reduce((sum, [, length]) => sum + length, 0);
  assert.equal(changed, wanted, "bytes written or zeroed");
  assert.ok(result.readBytes > result.writtenBytes, "gaps were read");
});

test("the first bytes are copied before the last page of extents has come", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 4 * MiB, new Random(4));
  await makeDirty(to, 4 * MiB, new Random(5));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine();
  const firstChunk = Promise.withResolvers<void>();
  async function* pages(): AsyncIterable<Float64Array> {
    yield Float64Array.of(0, MiB);
    await firstChunk.promise; // would wait for ever if copying waited for the pages
    yield Float64Array.of();
    yield Float64Array.of(2 * MiB, MiB);
  }
  const want = await patched(to, from, Float64Array.of(0, MiB, 2 * MiB, MiB));
  await engine.copy({
    source,
    target,
    capacityBytes: 4 * MiB,
    extents: pages(),
    onChunks: () => firstChunk.resolve(),
  });
  assert.ok((await readFile(to)).equals(want));
});

test("no extents at all is a copy of nothing", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, MiB, new Random(6));
  await makeDirty(to, MiB, new Random(7));
  const before = await readFile(to);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine();
  const extents = new Float64Array();
  const result = await engine.copy({ source, target, capacityBytes: MiB, extents });
  assert.equal(result.writtenBytes, 0);
  assert.ok((await readFile(to)).equals(before));
});

test("a hundred thousand extents need no more memory than a thousand", async () => {
  await using dir = await tempDir();
  const sizeBytes = 100_000 * 64 * KiB;
  await using source = await startNbdkit(dir.path, "-r", "pattern", `size=${sizeBytes}`);
  await using target = await startNbdkit(dir.path, "null", `size=${sizeBytes}`);
  using engine = new Engine({ memoryBytes: 4 * MiB });
  async function* pages(count: number): AsyncIterable<Float64Array> {
    for (let page = 0; page < count / 1000; page++) {
      const pairs = new Float64Array(2000);
      for (let i = 0; i < 1000; i++) pairs.set([(page * 1000 + i) * 64 * KiB, 4 * KiB], 2 * i);
      yield pairs;
    }
  }
  const grow = async (count: number): Promise<number> => {
    await engine.copy({
      source,
      target,
      capacityBytes: sizeBytes,
      extents: pages(count),
      gapBytes: 0,
    });
    return process.memoryUsage.rss();
  };
  await grow(1000);
  const before = process.memoryUsage.rss();
  const after = await grow(100_000);
  assert.ok(after - before < 64 * MiB, `grew by ${after - before} bytes`);
});
