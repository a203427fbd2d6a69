import assert from "node:assert/strict";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CopyResult, Engine } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeSparse } from "./images.ts";
import { keepBusy, undisturbed } from "./machine.ts";
import { loggedBesideWrites, sameBytes, startNbdkit, startQemuNbd } from "./servers.ts";

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

/** Of each connection that a log of nbdkit's has: how many reads. */
async function readsOfEach(log: string): Promise<number[]> {
  const reads = new Map<string, number>();
  for (const [, name = ""] of (await readFile(log, "utf8")).matchAll(/connection=(\d+) Read id/g))
    reads.set(name, (reads.get(name) ?? 0) + 1);
  return [...reads.values()];
}

test("the result counts the connections that were granted, not those that were wished for", async () => {
  const alone = await copyFrom("--filter=limit", "limit=1", "--filter=delay", "rdelay=10ms");
  assert.equal(alone.sourceConnections, 1);
});

test("a source that is far away gets four connections as soon as its first answers show it", async () => {
  const far = await copyFrom("--filter=delay", "rdelay=20ms");
  assert.ok(far.sourceConnections >= 4, `${far.sourceConnections} connections`);
});

test("a change that is all on its way at once gets no further connections, however far the source is", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(8));
  await makeSparse(to, sizeBytes);
  await using source = await startNbdkit(
    ...[dir.path, "-r", "--threads=4", "--filter=delay", "file", from, "rdelay=30ms"],
  );
  await using target = await startQemuNbd(dir.path, to);
  const copyOf = async (extents: number): Promise<CopyResult> => {
    using engine = new Engine();
    return await engine.copy({
      ...{ source: { uri: source.uri }, target: { uri: target.uri }, capacityBytes: sizeBytes },
      extents: Float64Array.from({ length: 2 * extents }, (_, i) => (i % 2 ? 65536 : i * 65536)),
    });
  };
  const few = await copyOf(30);
  assert.equal(few.sourceConnections, Math.min(availableParallelism(), 4));
  const many = await copyOf(400);
  assert.equal(many.sourceConnections, 8);
});

test("a distant source gets four connections however much the first two carry", async () => {
  await using dir = await tempDir();
  const slow = ["--filter=delay", "pattern", "size=320M", "rdelay=5ms"];
  await using source = await startNbdkit(dir.path, "-r", ...slow);
  await using target = await startNbdkit(dir.path, "null", "size=320M");
  using engine = new Engine();
  const result = await engine.copy({ ...{ source, target, capacityBytes: 320 << 20 } });
  assert.ok(result.sourceConnections >= 4, `${result.sourceConnections} connections`);
});

test("a single loop sees to both sides, however many connections it has", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(6));
  await makeSparse(to, sizeBytes);
  await using source = await startNbdkit(
    dir.path,
    "-r",
    "--filter=delay",
    "file",
    from,
    "rdelay=50ms",
  );
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 << 20 });
  const result = await engine.copy({
    source: { uri: source.uri, connections: 64 },
    target: { uri: target.uri, connections: 1 },
    capacityBytes: sizeBytes,
    requestBytes: 65536,
    stallTimeoutMs: 3000,
    retry: { attempts: 1, maxElapsedMs: 5000 },
  });
  assert.ok(result.sourceConnections > 62, `${result.sourceConnections} connections`);
  assert.ok(await sameBytes(from, to, sizeBytes));
});

test("connections that take their time to open are awaited and used", async () => {
  await using dir = await tempDir();
  const log = join(dir.path, "log");
  const bytes = 400 << 20;
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--filter=log", "--filter=delay", "pattern", `size=${bytes}`],
    ...[`logfile=${log}`, "rdelay=200ms", "delay-open=4"],
  );
  await using target = await startNbdkit(dir.path, "null", `size=${bytes}`);
  using engine = new Engine();
  await engine.copy({ source, target, capacityBytes: bytes, requestBytes: 256 << 10 });
  const reads = await readsOfEach(log);
  const used = reads.filter((count) => count >= 50).length;
  assert.ok(used >= 4, `reads of each connection: ${reads}`);
});

test("connections that work on one request at a time are all kept busy, those of either loop", async () => {
  await using dir = await tempDir();
  const log = join(dir.path, "log");
  const bytes = 256 << 20;
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--threads=1", "--filter=log", "--filter=delay", "pattern", `size=${bytes}`],
    ...[`logfile=${log}`, "rdelay=20ms"],
  );
  await using target = await startNbdkit(dir.path, "null", `size=${bytes}`);
  using engine = new Engine();
  await engine.copy({
    source: { uri: source.uri, connections: 8 },
    target: { uri: target.uri, connections: 4 },
    capacityBytes: bytes,
    requestBytes: 1 << 20,
  });
  const counts = (await readsOfEach(log)).toSorted((a, b) => b - a).slice(0, 8);
  assert.equal(counts.length, 8);
  assert.ok(counts[7]! >= counts[0]! / 2, `reads of each connection: ${counts}`);
});

test("where a second source connection is refused, both target connections see to the zeroes", async () => {
  await using dir = await tempDir();
  const [from, to, log] = [join(dir.path, "from"), join(dir.path, "to"), join(dir.path, "log")];
  const bytes = 256 << 20;
  for (const path of [from, to]) await makeSparse(path, bytes);
  await using source = await startNbdkit(dir.path, "-r", "--filter=limit", "file", from, "limit=1");
  const slowZeroes = ["--filter=noextents", "--filter=delay", "file", to, "delay-zero=20ms"];
  const logging = ["--filter=log", ...slowZeroes, `logfile=${log}`];
  await using target = await startNbdkit(dir.path, ...logging);
  using engine = new Engine();
  const result = await engine.copy({ ...{ source, target, capacityBytes: bytes } });
  assert.equal(result.sourceConnections, 1);
  const readers = (await readFile(log, "utf8")).matchAll(/connection=(\d+) Read /g);
  assert.equal(new Set([...readers].map((match) => match[1])).size, result.targetConnections);
  assert.ok(result.targetConnections > 1);
});

/**
 * Copies slow data, five eighths of a disk, and zeroes, the rest, over one source connection.
 * @returns of the reads of the target connection that wrote no data, while another did, the share of all
 * such reads, and the share that were sent while one of them was under way.
 */
async function zeroesBesideData(...delays: string[]): Promise<{ ofAll: number; overlap: number }> {
  await using dir = await tempDir();
  const [from, to, log] = [join(dir.path, "from"), join(dir.path, "to"), join(dir.path, "log")];
  const bytes = 256 << 20;
  await makeSparse(to, bytes);
  await makeDirty(from, 0.625 * bytes, new Random(4));
  await truncate(from, bytes);
  const slowData = ["--filter=limit", "--filter=delay", "file", from, "limit=1", "rdelay=150ms"];
  await using source = await startNbdkit(dir.path, "-r", ...slowData);
  const filters = ["--filter=log", "--filter=noextents", "--filter=delay", "file", to];
  await using target = await startNbdkit(dir.path, ...filters, `logfile=${log}`, ...delays);
  using engine = new Engine();
  await engine.copy({ source, target, capacityBytes: bytes });
  assert.ok(await sameBytes(from, to, bytes));
  const connections = await loggedBesideWrites(log);
  const all = connections.reduce((sum, { reads }) => sum + reads, 0);
  const zeroReader = connections.find(({ reads, writes }) => reads > 0 && writes === 0);
  if (zeroReader === undefined) return { ofAll: 0, overlap: 0 };
  return { ofAll: zeroReader.reads / all, overlap: zeroReader.overlapping / zeroReader.reads };
}

test("beside data, a target connection without a source sees to the zeroes, one at a time", async () => {
  const { ofAll, overlap } = await undisturbed(
    6,
    () => zeroesBesideData("delay-zero=40ms"),
    (found) => found.ofAll >= 0.55 && found.overlap <= 0.1,
  );
  assert.ok(ofAll >= 0.55, `${ofAll} of the reads`);
  assert.ok(overlap <= 0.1, `${overlap} of them beside another`);
});

test("where the target is far away, several ranges at a time are seen to be zero beside data", async () => {
  const { overlap } = await undisturbed(
    4,
    () => zeroesBesideData("delay-zero=30ms", "delay-read=6ms"),
    (found) => found.overlap >= 0.5,
  );
  assert.ok(overlap >= 0.5, `${overlap} of the reads beside another`);
});

/** A flow that thins while two processes for each core run; they end before the copy does. */
async function copyBesideOthers(): Promise<CopyResult> {
  await using dir = await tempDir();
  const rate = join(dir.path, "rate");
  await writeFile(rate, "4000M");
  const filters = ["--filter=delay", "--filter=rate", "pattern", "size=1280M", "rdelay=3ms"];
  const rates = ["connection-rate=4000M", `connection-rate-file=${rate}`, "burstiness=0.05"];
  await using source = await startNbdkit(dir.path, "-r", ...filters, ...rates);
  await using target = await startNbdkit(dir.path, "null", "size=1280M");
  using others = keepBusy();
  const thin = async () => {
    await sleep(300);
    await writeFile(rate, "400M");
    await sleep(1500);
    others[Symbol.dispose]();
  };
  let thinned: Promise<void> | undefined;
  using engine = new Engine();
  const result = await engine.copy({
    ...{ source, target, capacityBytes: 1280 << 20 },
    onChunks: () => {
      thinned ??= thin();
    },
  });
  await thinned;
  return result;
}

test("a flow that thins while others keep the machine busy gets more connections once they are done", async () => {
  const { sourceConnections } = await undisturbed(
    4,
    copyBesideOthers,
    (result) => result.sourceConnections >= 4,
  );
  assert.ok(sourceConnections >= 4, `${sourceConnections} connections`);
});

test("a distant target that caps each connection gets more of them", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  const bytes = 320 << 20;
  await makeDirty(from, bytes, new Random(2));
  await makeSparse(to, bytes);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  const capped = ["wdelay=8ms", "connection-rate=150M", "burstiness=0.05"];
  const filters = ["--filter=delay", "--filter=rate"];
  await using target = await startNbdkit(dir.path, ...filters, "file", to, ...capped);
  using engine = new Engine();
  const first = Math.min(availableParallelism(), 4);
  const copyOnce = async () => {
    const disk = { source, target, capacityBytes: bytes };
    const { targetConnections } = await engine.copy({ ...disk, sourceExtents: false });
    assert.ok(await sameBytes(from, to, bytes));
    return targetConnections;
  };
  const granted = await undisturbed(6, copyOnce, (count) => count > first);
  assert.ok(granted > first, `${granted} connections`);
});
