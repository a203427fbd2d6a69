import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { test } from "node:test";
import {
  digestRanges,
  Engine,
  libnbdVersion,
  probeExport,
  readRange,
} from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage } from "./images.ts";
import { startNbdkit, startNbdServer, startQemuNbd } from "./servers.ts";

const MiB = 1 << 20;

test("a probe tells what each kind of server offers", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "disk");
  await makeDirty(file, MiB, new Random(1));
  await using nbdkit = await startNbdkit(dir.path, "-r", "file", file);
  await using qemu = await startQemuNbd(dir.path, file);
  await using server = await startNbdServer(dir.path, file);
  const [a, b, c] = await Promise.all([nbdkit, qemu, server].map((each) => probeExport(each)));
  assert.deepEqual([a?.sizeBytes, b?.sizeBytes, c?.sizeBytes], [MiB, MiB, MiB]);
  assert.deepEqual([a?.readOnly, b?.readOnly, c?.readOnly], [true, false, false]);
  assert.deepEqual([a?.canExtents, b?.canExtents, c?.canExtents], [true, true, false]);
  assert.deepEqual([b?.canFastZero, c?.canFastZero], [true, false]);
  assert.equal(b?.maximumBlockBytes, 32 * MiB);
  assert.match(libnbdVersion(), /^1\.\d+\.\d+$/);
});

test("a probe says whether nobody listens, nobody answers, or the export is refused", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "disk");
  await makeDirty(file, MiB, new Random(1));
  await using qemu = await startQemuNbd(dir.path, file);
  const socket = qemu.uri.slice(qemu.uri.indexOf("?"));
  await assert.rejects(probeExport({ uri: `nbd+unix:///${socket}-not` }), {
    name: "NbdError",
    code: "ENGINE_CONNECT",
    errno: "ENOENT",
  });
  await assert.rejects(probeExport({ uri: `nbd+unix:///no-such-export${socket}` }), {
    code: "ENGINE_REFUSED",
    message: /no export named 'no-such-export'/,
  });
  qemu.signal("SIGSTOP");
  await assert.rejects(probeExport(qemu, { timeoutMs: 200 }), {
    code: "ENGINE_TIMEOUT",
    errno: "ETIMEDOUT",
  });
  await assert.rejects(probeExport(qemu, { signal: AbortSignal.timeout(100) }), {
    name: "TimeoutError",
  });
  qemu.signal("SIGCONT");
});

test("a target that is read-only or too small is refused before a byte is written", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 2 * MiB, new Random(2));
  await makeDirty(to, MiB, new Random(3));
  const before = await readFile(to);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using small = await startQemuNbd(dir.path, to);
  await using readOnly = await startNbdkit(dir.path, "-r", "file", from);
  using engine = new Engine();
  const capacityBytes = 2 * MiB;
  await assert.rejects(engine.copy({ source, target: small, capacityBytes }), {
    code: "ENGINE_SIZE",
    side: "target",
  });
  await assert.rejects(engine.copy({ source, target: readOnly, capacityBytes }), {
    code: "ENGINE_READ_ONLY",
    side: "target",
  });
  assert.ok((await readFile(to)).equals(before));
});

test("a compare lists the differing sectors, lowest first, and no others", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  const sizeBytes = 5 * MiB + 100;
  await makeImage(from, sizeBytes, new Random(4), 4);
  await using file = await open(to, "w");
  await file.writeFile(await readFile(from));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine();
  const options = { source, target, capacityBytes: sizeBytes };
  const equal = await engine.compare(options);
  assert.deepEqual([equal.comparedBytes, equal.differingBytes], [sizeBytes, 0]);

  const original = await readFile(from);
  for (const offset of [0, 511, 1024, 3 * MiB + 7, sizeBytes - 1])
    await file.write(Buffer.of((original[offset] ?? 0) ^ 255), 0, 1, offset);
  const different = await engine.compare(options);
  const last = sizeBytes - (sizeBytes % 512);
  assert.deepEqual(
    [...different.differences],
    [0, 512, 1024, 512, 3 * MiB, 512, last, sizeBytes - last],
  );
  const first = await engine.compare({ ...options, differencesMaximum: 1 });
  assert.deepEqual([[...first.differences], first.truncated], [[0, 512], true]);
  const sample = Float64Array.of(MiB, MiB);
  assert.equal((await engine.compare({ ...options, extents: sample })).differingBytes, 0);
});

test("digests are the SHA-256 of exactly the asked bytes", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "disk");
  await makeDirty(file, 2 * MiB + 77, new Random(5));
  await using server = await startNbdkit(dir.path, "-r", "file", file);
  const bytes = await readFile(file);
  const ranges = [0, 1, 3, 70_000, MiB - 5, MiB + 82, 10, 0];
  const digests = await digestRanges(server, Float64Array.from(ranges));
  const expected = [0, 2, 4, 6].map((i) => {
    const [offset, length] = [ranges[i] as number, ranges[i + 1] as number];
    return createHash("sha256")
      .update(bytes.subarray(offset, offset + length))
      .digest("hex");
  });
  assert.deepEqual(digests, expected);
  await assert.rejects(digestRanges(server, Float64Array.of(2 * MiB, 100)), {
    code: "ENGINE_SIZE",
  });
});

/** Takes only whole blocks of 4 KiB, and at most 64 KiB in a request. */
const strict = [
  "--filter=blocksize-policy",
  ...["blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=65536"],
  "blocksize-error-policy=error",
];

test("digests and reads of unaligned ranges get along with a server that takes only whole blocks", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "disk");
  await makeDirty(file, 2 * MiB, new Random(6));
  await using server = await startNbdkit(dir.path, "-r", "file", file, ...strict);
  const bytes = await readFile(file);
  for (const [offset, length] of [
    [0, 2 * MiB],
    [4095, MiB],
    [2 * MiB - 1, 1],
  ] as const) {
    const part = bytes.subarray(offset, offset + length);
    const digest = createHash("sha256").update(part).digest("hex");
    assert.deepEqual(await digestRanges(server, Float64Array.of(offset, length)), [digest]);
    if (length > MiB) continue;
    const read = await readRange(server, offset, length);
    assert.ok(part.equals(read), `${length} bytes at ${offset}`);
  }
});

test("a read gives exactly the asked bytes of each kind of server", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "disk");
  await makeDirty(file, MiB + 77, new Random(7));
  const bytes = await readFile(file);
  await using nbdkit = await startNbdkit(dir.path, "-r", "file", file);
  await using qemu = await startQemuNbd(dir.path, file);
  await using server = await startNbdServer(dir.path, file);
  for (const each of [nbdkit, qemu, server])
    for (const [offset, length] of [
      [0, MiB],
      [0, 0],
      [511, 2],
      [77, MiB],
      [MiB + 76, 1],
    ] as const) {
      const read = await readRange(each, offset, length);
      assert.ok(read instanceof Uint8Array);
      assert.ok(bytes.subarray(offset, offset + length).equals(read), `${length} at ${offset}`);
    }
});

test("a read of too much, or that cannot be answered, fails and says why", async () => {
  await using dir = await tempDir();
  const failing = ["--filter=error", "memory", "2M", "error-pread=EIO", "error-pread-rate=100%"];
  await using server = await startNbdkit(dir.path, ...failing);
  await assert.rejects(readRange(server, 0, MiB + 1), { name: "RangeError" });
  await assert.rejects(readRange(server, -1, 1), { name: "RangeError" });
  await assert.rejects(readRange(server, 2 * MiB - 1, 2), {
    code: "ENGINE_SIZE",
    side: "target",
    offset: 2 * MiB - 1,
    length: 2,
  });
  await assert.rejects(readRange(server, 0, 512, { side: "source" }), {
    name: "NbdError",
    code: "ENGINE_READ",
    side: "source",
    errno: "EIO",
  });
  await assert.rejects(readRange({ uri: `${server.uri}-not` }, 0, 512), { code: "ENGINE_CONNECT" });
  await using slow = await startNbdkit(dir.path, "--filter=delay", "memory", "2M", "rdelay=60");
  await assert.rejects(readRange(slow, 0, 512, { timeoutMs: 200 }), { code: "ENGINE_TIMEOUT" });
  await assert.rejects(readRange(slow, 0, 512, { signal: AbortSignal.timeout(100) }), {
    name: "TimeoutError",
  });
});

test("the rate limit is kept: no second carries more than 1.2 times the limit", async () => {
  await using dir = await tempDir();
  const sizeBytes = 20 * MiB;
  await using source = await startNbdkit(dir.path, "-r", "pattern", `size=${sizeBytes}`);
  await using target = await startNbdkit(dir.path, "null", `size=${sizeBytes}`);
  const limit = 8 * MiB;
  using engine = new Engine({ maxBytesPerSecond: limit });
  const moments: [number, number][] = [];
  const options = {
    source,
    target,
    capacityBytes: sizeBytes / 2,
    sourceExtents: false,
    onChunks(chunks: Float64Array) {
      let bytes = 0;
      for (let i = 1; i < chunks.length; i += 3) bytes += chunks[i] as number;
      moments.push([performance.now(), bytes]);
    },
  };
  // Two copies share the limit.
  const startedAt = performance.now();
  const ownDelay = monitorEventLoopDelay({ resolution: 5 });
  ownDelay.enable();
  await Promise.all([engine.copy(options), engine.copy(options)]);
  ownDelay.disable();
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(sizeBytes / seconds <= limit * 1.1, `${sizeBytes / seconds} bytes/s`);
  // Chunks are heard of late while this process is busy: those of a longer time then come together.
  const windowMs = 1000 - ownDelay.max / 1e6;
  for (const [from] of moments) {
    const within = moments.filter(([at]) => at >= from && at < from + windowMs);
    const bytes = within.reduce((sum, [, part]) => sum + part, 0);
    assert.ok(bytes <= limit * 1.2, `${bytes} bytes in one second`);
  }
});
