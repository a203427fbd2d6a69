import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Engine, NbdError, type RetryEvent } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage } from "./images.ts";
import { sameBytes, startNbdkit, startQemuNbd } from "./servers.ts";

const MiB = 1 << 20;

test("a target that dies forgets unflushed writes; they are copied again", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 16 * MiB, new Random(1));
  await writeFile(to, Buffer.alloc(16 * MiB));
  await using source = await startNbdkit(
    dir.path,
    "-r",
    "--filter=delay",
    "file",
    from,
    "rdelay=20ms",
  );
  // Keeps all writes to itself until a flush, so that a kill loses them.
  await using target = await startNbdkit(dir.path, "--filter=cache", "file", to, "cache=writeback");
  using engine = new Engine({ memoryBytes: 4 * MiB });
  let copied = 0;
  let killed: Promise<void> | undefined;
  const result = await engine.copy({
    source: { uri: source.uri, connections: 1 },
    target,
    capacityBytes: 16 * MiB,
    requestBytes: 65536,
    checkpointIntervalMs: 60_000,
    onChunks(chunks) {
      for (let i = 1; i < chunks.length; i += 3) copied += chunks[i] as number;
      if (copied > 6 * MiB) killed ??= target.kill().then(() => void target.start());
    },
  });
  assert.ok(killed, "the server was killed in the middle");
  assert.ok(result.retries >= 1);
  assert.ok(result.writtenBytes > 16 * MiB, "what was lost was written again");
  assert.ok(await sameBytes(from, to, 16 * MiB));
});

test("what was told before a checkpoint survives the target's death", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 16 * MiB, new Random(2));
  await writeFile(to, Buffer.alloc(16 * MiB));
  await using source = await startNbdkit(
    dir.path,
    "-r",
    "--filter=delay",
    "file",
    from,
    "rdelay=10ms",
  );
  await using target = await startNbdkit(dir.path, "--filter=cache", "file", to, "cache=writeback");
  // So slowly that the checkpoints' news is there long before the end, on any machine.
  using engine = new Engine({ memoryBytes: 4 * MiB, maxBytesPerSecond: 4 * MiB });
  const aborter = new AbortController();
  const told: number[] = [];
  let safe = 0;
  await assert.rejects(
    engine.copy({
      source: { uri: source.uri, connections: 2 },
      target,
      capacityBytes: 16 * MiB,
      requestBytes: 65536,
      checkpointIntervalMs: 20,
      signal: aborter.signal,
      onChunks(chunks) {
        for (let i = 0; i < chunks.length; i += 3)
          told.push(chunks[i] as number, chunks[i + 1] as number);
      },
      onCheckpoint() {
        if (safe > 0 || told.length < 40) return;
        safe = told.length;
        target.signal("SIGKILL");
        aborter.abort(new Error("enough"));
      },
    }),
    /enough/,
  );
  const [want, have] = await Promise.all([readFile(from), readFile(to)]);
  assert.ok(safe >= 40);
  for (let i = 0; i < safe; i += 2) {
    const [offset, length] = [told[i] as number, told[i + 1] as number];
    const same = have
      .subarray(offset, offset + length)
      .equals(want.subarray(offset, offset + length));
    assert.ok(same, `${length} bytes at ${offset} were told but are not there`);
  }
});

test("a source that dies is connected to again and finished ranges are not read again", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 16 * MiB, new Random(3));
  await writeFile(to, "");
  await using source = await startNbdkit(
    dir.path,
    "-r",
    "--filter=delay",
    "file",
    from,
    "rdelay=20ms",
  );
  await writeFile(to, Buffer.alloc(16 * MiB));
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 * MiB });
  let restarted = false;
  const retries: RetryEvent[] = [];
  const result = await engine.copy({
    source,
    target,
    capacityBytes: 16 * MiB,
    requestBytes: 65536,
    onChunks: () => {
      if (restarted) return;
      restarted = true;
      source.kill().then(() => source.start());
    },
    onRetry: (event) => retries.push(event),
  });
  assert.ok(await sameBytes(from, to, 16 * MiB));
  assert.ok(result.readBytes < 18 * MiB, `read ${result.readBytes}`);
  assert.equal(retries[0]?.side, "source");
  assert.equal(retries[0]?.attempt, 1);
});

test("while the source is away nobody spins", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 16 * MiB, new Random(3));
  await writeFile(to, Buffer.alloc(16 * MiB));
  const slow = ["-r", "--filter=delay", "file", from, "rdelay=20ms"];
  await using source = await startNbdkit(dir.path, ...slow);
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 * MiB });
  let usedMs = Number.NaN;
  let away: Promise<void> | undefined;
  const leave = async () => {
    await source.kill();
    const before = process.cpuUsage();
    await sleep(1000);
    const used = process.cpuUsage(before);
    usedMs = (used.user + used.system) / 1000;
    await source.start();
  };
  await engine.copy({
    source,
    target,
    capacityBytes: 16 * MiB,
    requestBytes: 65536,
    retry: { attempts: 20, maxElapsedMs: 20_000 },
    onChunks: () => {
      away ??= leave();
    },
  });
  assert.ok(await sameBytes(from, to, 16 * MiB));
  await away;
  assert.ok(usedMs < 500, `${usedMs} ms of processor time in a second`);
});

test("a server that hangs counts as lost, and the copy goes on when it is back", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 8 * MiB, new Random(4));
  await writeFile(to, Buffer.alloc(8 * MiB));
  await using source = await startNbdkit(
    dir.path,
    "-r",
    "--filter=delay",
    "file",
    from,
    "rdelay=20ms",
  );
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 * MiB });
  const retries: RetryEvent[] = [];
  await engine.copy({
    source,
    target,
    capacityBytes: 8 * MiB,
    requestBytes: 65536,
    stallTimeoutMs: 300,
    flushTimeoutMs: 300,
    onChunks: () => {
      if (retries.length === 0) target.signal("SIGSTOP");
    },
    onRetry(event) {
      retries.push(event);
      target.signal("SIGCONT");
    },
  });
  assert.match(retries[0]?.message ?? "", /the target did not answer for 300 ms/);
  assert.ok(await sameBytes(from, to, 8 * MiB));
});

test("a range that cannot be read ends the copy with what, where and how often", async () => {
  await using dir = await tempDir();
  const to = join(dir.path, "to");
  await writeFile(to, Buffer.alloc(4 * MiB));
  await using source = await startNbdkit(
    dir.path,
    ...["--filter=noextents", "eval", "get_size=echo 4194304"],
    "pread=if [ $4 -eq 2097152 ]; then echo EIO bad sector >&2; exit 1; fi; head -c $3 /dev/zero",
  );
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine();
  const error = await engine
    .copy({
      source,
      target,
      ...{ capacityBytes: 4 * MiB, requestBytes: MiB },
      retry: { attempts: 2, maxElapsedMs: 10_000 },
    })
    .catch((reason: unknown) => reason);
  assert.ok(error instanceof NbdError);
  assert.deepEqual(
    [error.code, error.side, error.errno, error.offset, error.length, error.attempts],
    ["ENGINE_READ", "source", "EIO", 2 * MiB, MiB, 3],
  );
  assert.match(error.message, /source read of 1048576 bytes at 2097152 failed/);
});

test("a target that stays away ends the copy after the agreed number of attempts", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeImage(from, 8 * MiB, new Random(6), 40);
  await writeFile(to, Buffer.alloc(8 * MiB));
  await using source = await startNbdkit(
    dir.path,
    "-r",
    "--filter=delay",
    "file",
    from,
    "rdelay=50ms",
  );
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 * MiB });
  let killed = false;
  const copying = engine.copy({
    source: { uri: source.uri, connections: 1 },
    target,
    capacityBytes: 8 * MiB,
    requestBytes: 16384,
    sourceExtents: false,
    retry: { attempts: 3, maxElapsedMs: 10_000 },
    onChunks() {
      if (!killed) target.signal("SIGKILL");
      killed = true;
    },
  });
  const error = await copying.catch((reason: unknown) => reason);
  assert.ok(error instanceof NbdError, String(error));
  assert.deepEqual([error.code, error.side, error.attempts], ["ENGINE_LOST", "target", 4]);
});

test("a full disk behind the target is final at once", async () => {
  await using dir = await tempDir();
  const from = join(dir.path, "from");
  await makeDirty(from, 2 * MiB, new Random(9));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdkit(dir.path, "full", "size=2M");
  using engine = new Engine();
  await assert.rejects(engine.copy({ source, target, capacityBytes: 2 * MiB }), {
    name: "NbdError",
    code: "ENGINE_WRITE",
    side: "target",
    errno: "ENOSPC",
    attempts: 1,
  });
});
