import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { type CopyOptions, Engine, probeExport } from "../../src/nbd/copy-engine/copy-engine.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty } from "./images.ts";
import { sameBytes, startNbdkit, startQemuNbd } from "./servers.ts";

const MiB = 1 << 20;
const sizeBytes = 16 * MiB;
const child = fileURLToPath(new URL("copy-child.ts", import.meta.url));

interface Pair extends AsyncDisposable {
  source: NbdServer;
  target: NbdServer;
  from: string;
  to: string;
}

/** A slow source, so that there is time to do something in the middle. */
async function startPair(delay = "20ms"): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(1));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const source = stack.use(
    await startNbdkit(dir.path, "-r", "--filter=delay", "file", from, `rdelay=${delay}`),
  );
  const target = stack.use(await startQemuNbd(dir.path, to));
  const owned = stack.move();
  return { source, target, from, to, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const slowCopy = (pair: Pair): CopyOptions => ({
  source: { uri: pair.source.uri },
  target: { uri: pair.target.uri },
  capacityBytes: sizeBytes,
  requestBytes: 65536,
});

test("an abort rejects with the signal's reason, at whatever moment it comes", async () => {
  await using pair = await startPair("50ms");
  using engine = new Engine({ memoryBytes: 4 * MiB });
  for (const afterMs of [0, 1, 2, 5, 10, 20, 40, 80]) {
    const reason = new Error(`after ${afterMs} ms`);
    const aborter = new AbortController();
    setTimeout(() => aborter.abort(reason), afterMs);
    await assert.rejects(engine.copy({ ...slowCopy(pair), signal: aborter.signal }), reason);
  }
  // nbdkit does not survive a client that leaves with reads in flight: it must have been drained.
  assert.equal((await probeExport(pair.source)).sizeBytes, sizeBytes);
});

test("a signal that is aborted already starts nothing", async () => {
  await using pair = await startPair();
  using engine = new Engine();
  const signal = AbortSignal.abort();
  await assert.rejects(engine.copy({ ...slowCopy(pair), signal }), { name: "AbortError" });
});

test("an abort takes less than a second even if both servers hang", async () => {
  await using pair = await startPair();
  using engine = new Engine();
  const aborter = new AbortController();
  let abortedAt = 0;
  const copying = engine.copy({
    ...slowCopy(pair),
    signal: aborter.signal,
    onChunks() {
      pair.source.signal("SIGSTOP");
      pair.target.signal("SIGSTOP");
      abortedAt ||= performance.now();
      aborter.abort();
      aborter.abort();
    },
  });
  await assert.rejects(copying, { name: "AbortError" });
  const tookMs = performance.now() - abortedAt;
  pair.source.signal("SIGCONT");
  pair.target.signal("SIGCONT");
  assert.ok(tookMs < 1000, `took ${tookMs} ms`);
});

test("an error thrown by a callback ends the copy and comes out of it", async () => {
  await using pair = await startPair();
  using engine = new Engine();
  const thrown = new Error("the tracker broke");
  const copying = engine.copy({
    ...slowCopy(pair),
    onChunks() {
      throw thrown;
    },
  });
  await assert.rejects(copying, thrown);
});

test("an error thrown by the source of extents ends the copy and comes out of it", async () => {
  await using pair = await startPair();
  using engine = new Engine();
  const thrown = new Error("QueryChangedDiskAreas failed");
  async function* extents(): AsyncIterable<Float64Array> {
    yield Float64Array.of(0, 65536);
    throw thrown;
  }
  await assert.rejects(engine.copy({ ...slowCopy(pair), extents: extents() }), thrown);
});

test("extents that are not sorted are refused, also over pages", async () => {
  await using pair = await startPair();
  using engine = new Engine();
  async function* extents(): AsyncIterable<Float64Array> {
    yield Float64Array.of(65536, 65536);
    yield Float64Array.of(0, 65536);
  }
  const copying = engine.copy({ ...slowCopy(pair), extents: extents() });
  await assert.rejects(copying, { name: "RangeError", message: /0 follows 131072/ });
});

test("an engine that is disposed of aborts what runs, and refuses more", async () => {
  await using pair = await startPair();
  const engine = new Engine();
  const copying = engine.copy({ ...slowCopy(pair), onChunks: () => engine[Symbol.dispose]() });
  await assert.rejects(copying, { name: "NbdError", code: "ENGINE_CLOSED" });
  engine[Symbol.dispose]();
  await assert.rejects(engine.copy(slowCopy(pair)), { code: "ENGINE_CLOSED" });
});

test("several copies on one engine share its memory, and all end exact", async () => {
  await using first = await startPair("2ms");
  await using second = await startPair("2ms");
  await using third = await startPair("2ms");
  using engine = new Engine({ memoryBytes: 4 * MiB });
  const pairs = [first, second, third];
  await Promise.all(pairs.map((pair) => engine.copy({ ...slowCopy(pair), requestBytes: 2 * MiB })));
  for (const pair of pairs) assert.ok(await sameBytes(pair.from, pair.to, sizeBytes));
});

test("a process may exit in the middle of a copy", async () => {
  await using pair = await startPair();
  const run = spawn(process.execPath, [child, pair.source.uri, pair.target.uri, "exit"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code, signal] = await once(run, "exit");
  assert.deepEqual([code, signal], [7, null]);
  assert.equal((await probeExport(pair.source)).sizeBytes, sizeBytes);
});

test("a copy runs in a worker thread, and the worker may be terminated in the middle", async () => {
  await using pair = await startPair("2ms");
  const start = (mode: string): Worker =>
    new Worker(child, { argv: [pair.source.uri, pair.target.uri, mode] });
  const whole = start("whole");
  const [message] = await once(whole, "message");
  assert.equal(message, "done");
  assert.ok(await sameBytes(pair.from, pair.to, sizeBytes));
  const cut = start("endless");
  await once(cut, "message");
  await cut.terminate();
  assert.equal((await probeExport(pair.source)).sizeBytes, sizeBytes);
});

test("a worker may end inside a callback, and copies elsewhere in the process go on", async () => {
  await using pair = await startPair("2ms");
  await using other = await startPair("2ms");
  using engine = new Engine({ memoryBytes: 4 * MiB });
  const copying = engine.copy(slowCopy(other));
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(child, { argv: [pair.source.uri, pair.target.uri, "exit"] });
    const [code] = await once(worker, "exit");
    assert.equal(code, 7);
  }
  await copying;
  assert.ok(await sameBytes(other.from, other.to, sizeBytes));
  assert.equal((await probeExport(pair.source)).sizeBytes, sizeBytes);
});

test("a machine without libnbd is told which package is missing", async () => {
  await using dir = await tempDir();
  const fake = join(dir.path, "migratekit.node");
  await writeFile(fake, await fakeAddon());
  const script = `
    const { setNativePath, libnbdVersion } = await import(${JSON.stringify(import.meta.resolve("../../src/nbd/copy-engine/copy-engine.ts"))});
    setNativePath(${JSON.stringify(fake)});
    try { libnbdVersion(); } catch (error) { console.log(error.code, error.message, error.remedy); }`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--input-type=module",
    "--eval",
    script,
  ]);
  assert.match(stdout, /^native-missing The copy engine needs the library libnbd\.so\.0/);
  assert.match(stdout, /apt-get install libnbd0/);
});

/** The real addon, but linked against a library that no machine has: the name is patched in its bytes. */
async function fakeAddon(): Promise<Buffer> {
  const url = new URL("../../build/Release/migratekit.node", import.meta.url);
  const addon = Buffer.from(await readFile(url));
  const at = addon.indexOf("libnbd.so.0\0");
  assert.ok(at > 0);
  addon.write("libnbd.so.9", at);
  return addon;
}
