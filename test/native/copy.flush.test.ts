/** Targets that answer quickly and write later: their flushes take long. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type CopyResult, Engine, type RetryEvent } from "../../src/nbd/copy-engine/copy-engine.ts";
import * as lab from "../lab/targets.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { until } from "../until.ts";
import { makeDirty } from "./images.ts";
import { sameBytes, startNbdkit } from "./servers.ts";

const MiB = 1 << 20;
const sizeBytes = 16 * MiB;

interface Case {
  /** Shell: what the target does when it is flushed. DIR is a folder of its own. */
  flush: string;
  /** The same for a write, before it. */
  write?: string;
  stallTimeoutMs: number;
  flushTimeoutMs?: number;
  connections?: number;
}

/** Copies to a target in shell, checks the bytes, gives what the engine did. */
async function copyTo(options: Case): Promise<CopyResult & { troubles: RetryEvent[] }> {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(1));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const shell = (text: string): string => text.replaceAll("DIR", dir.path);
  // Slow enough for rounds of flushes while it is copied.
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--filter=delay", "file", from, "rdelay=50ms"],
  );
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=noextents", "eval", `get_size=echo ${sizeBytes}`],
    ...["thread_model=echo parallel", "can_write=exit 0", "can_flush=exit 0"],
    "can_multi_conn=exit 0",
    `pread=dd if=${to} iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=65536 status=none`,
    shell(
      `pwrite=${options.write ?? ":"}; dd of=${to} oflag=seek_bytes seek=$4 bs=65536 conv=notrunc status=none iflag=fullblock`,
    ),
    shell(`flush=${options.flush}`),
  );
  using engine = new Engine({ memoryBytes: 4 * MiB });
  const troubles: RetryEvent[] = [];
  const result = await engine.copy({
    source: { uri: source.uri, connections: 1 },
    target: { uri: target.uri, connections: options.connections ?? 1 },
    capacityBytes: sizeBytes,
    requestBytes: 256 << 10,
    checkpointIntervalMs: 300,
    stallTimeoutMs: options.stallTimeoutMs,
    flushTimeoutMs: options.flushTimeoutMs ?? 60_000,
    retry: { attempts: 4, maxElapsedMs: 20_000 },
    onRetry: (trouble) => troubles.push(trouble),
  });
  assert.ok(await sameBytes(from, to, sizeBytes), "the target differs");
  return { ...result, troubles };
}

test("a flush may take longer than any other request, and nothing is copied twice", async () => {
  for (const connections of [1, 2]) {
    const result = await copyTo({ flush: "sleep 1.5", stallTimeoutMs: 500, connections });
    assert.deepEqual(result.troubles, []);
    assert.equal(result.writtenBytes, sizeBytes);
  }
});

test("what is written beside a flush may take as long as that", async () => {
  // One connection's flush holds up the writes of both.
  const result = await copyTo({
    flush: "touch DIR/flushing; sleep 1.5; rm -f DIR/flushing",
    write: "while [ -e DIR/flushing ]; do sleep 0.05; done",
    stallTimeoutMs: 500,
    connections: 2,
  });
  assert.deepEqual(result.troubles, []);
  assert.equal(result.writtenBytes, sizeBytes);
});

test("a flush that does not end within its own limit counts as lost, and is tried again", async () => {
  const result = await copyTo({
    flush: "if mkdir DIR/first 2>/dev/null; then sleep 5; fi",
    stallTimeoutMs: 400,
    flushTimeoutMs: 800,
  });
  assert.match(
    result.troubles[0]?.message ?? "",
    /the target did not finish a flush within 800 ms/,
  );
  assert.ok(result.writtenBytes > sizeBytes, "what was in doubt was written again");
});

test("while a flush takes its time, little more is written: what is unflushed has a limit", async () => {
  await using dir = await tempDir();
  const log = join(dir.path, "log");
  const bytes = 192 * MiB;
  await using source = await startNbdkit(dir.path, "-r", "pattern", `size=${bytes}`);
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=log", "eval", `get_size=echo ${bytes}`, "thread_model=echo parallel"],
    ...["can_write=exit 0", "can_flush=exit 0", "pwrite=cat >/dev/null", "flush=sleep 2"],
    `logfile=${log}`,
  );
  const memoryBytes = 32 * MiB;
  using engine = new Engine({ memoryBytes });
  await engine.copy({
    source,
    target: { uri: target.uri, connections: 1 },
    capacityBytes: bytes,
    requestBytes: 2 * MiB,
    sourceExtents: false,
  });
  const { most, flushes } = unflushedIn(await readFile(log, "utf8"));
  assert.ok(flushes > 2, `${flushes} flushes`);
  // And what is in the engine's memory when the limit is reached.
  assert.ok(most <= 64 * MiB + memoryBytes, `${most / MiB} MiB unflushed`);
});

for (const share of [0.5, 5])
  test(`a target whose caches take ${share} times the flush limit to drain receives each byte once`, async () => {
    await using dir = await tempDir();
    const log = join(dir.path, "log");
    const [bytes, requestBytes, flushTimeoutMs] = [384 * MiB, 2 * MiB, 2000];
    await using source = await startNbdkit(dir.path, "-r", "pattern", `size=${bytes}`);
    const drainMsEach = (share * flushTimeoutMs * requestBytes) / bytes;
    await using target = await startNbdkit(
      dir.path,
      ...["--filter=log", "eval", `get_size=echo ${bytes}`, "thread_model=echo parallel"],
      ...["can_write=exit 0", "can_flush=exit 0"],
      `pwrite=cat >/dev/null; printf x >>${dir.path}/dirty`,
      `flush=mv ${dir.path}/dirty ${dir.path}/draining || exit 0; n=$(stat -c %s ${dir.path}/draining); sleep $(awk "BEGIN { print $n * ${drainMsEach} / 1000 }")`,
      `logfile=${log}`,
    );
    using engine = new Engine();
    const troubles: RetryEvent[] = [];
    const result = await engine.copy({
      source,
      target: { uri: target.uri, connections: 1 },
      capacityBytes: bytes,
      requestBytes,
      sourceExtents: false,
      stallTimeoutMs: 500,
      flushTimeoutMs,
      onRetry: (trouble) => troubles.push(trouble),
    });
    assert.deepEqual(troubles, []);
    assert.equal(result.writtenBytes, bytes);
    const { most } = unflushedIn(await readFile(log, "utf8"));
    assert.ok(most < bytes / 2, `${most / MiB} MiB unflushed`);
  });

test("zeroes that the target makes without writing do not add up to a flush", async () => {
  await using dir = await tempDir();
  const log = join(dir.path, "log");
  const bytes = 64 * 1024 * MiB;
  await using source = await startNbdkit(dir.path, "-r", "memory", `${bytes}`);
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=log", "--filter=noextents", "null", `size=${bytes}`, `logfile=${log}`],
  );
  using engine = new Engine();
  const { zeroedBytes, zeroMethod } = await engine.copy({
    ...{ source, target, capacityBytes: bytes, checkpointIntervalMs: 60_000 },
  });
  assert.deepEqual([zeroedBytes, zeroMethod], [bytes, "fast-zero"]);
  const flushes = (await readFile(log, "utf8")).matchAll(/connection=(\d+) Flush id/g);
  const eachConnection = [...flushes].map((flush) => flush[1]);
  assert.equal(new Set(eachConnection).size, eachConnection.length, "one flush, at the end");
});

test("the time of a flush does not count towards how long a server may have trouble", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(3));
  await writeFile(to, Buffer.alloc(sizeBytes));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  // The first flush breaks off at once, the second when it has taken long: two troubles without a success.
  const flushes = join(dir.path, "flushes");
  await using target = await startNbdkit(
    dir.path,
    ...["eval", `get_size=echo ${sizeBytes}`, "can_write=exit 0", "can_flush=exit 0"],
    `pread=dd if=${to} iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=65536 status=none`,
    `pwrite=dd of=${to} oflag=seek_bytes seek=$4 bs=65536 conv=notrunc status=none iflag=fullblock`,
    `flush=printf x >>${flushes}; case $(cat ${flushes}) in x) echo EIO >&2; exit 1;; xx) sleep 2; echo EIO >&2; exit 1;; esac`,
  );
  using engine = new Engine();
  const troubles: RetryEvent[] = [];
  await engine.copy({
    source,
    target: { uri: target.uri, connections: 1 },
    capacityBytes: sizeBytes,
    retry: { attempts: 5, maxElapsedMs: 1500 },
    onRetry: (trouble) => troubles.push(trouble),
  });
  assert.equal(troubles.length, 2);
  assert.ok(await sameBytes(from, to, sizeBytes));
});

test("while a flush is awaited, the kernel looks whether the target's host is still there", async () => {
  await using dir = await tempDir();
  await using source = await startNbdkit(dir.path, "-r", "memory", "1M");
  await using target = await lab.startNbdkit([
    ...["eval", "get_size=echo 1048576", "can_write=exit 0", "can_flush=exit 0"],
    ...["pwrite=cat >/dev/null", "pread=head -c $3 /dev/zero"],
    `flush=touch ${dir.path}/flushing; while [ ! -e ${dir.path}/seen ]; do sleep 0.05; done`,
  ]);
  using engine = new Engine();
  const copying = engine.copy({ source, target, capacityBytes: MiB });
  await until("the target flushes", () => existsSync(join(dir.path, "flushing")));
  await until("a keepalive timer runs", () => hasKeepaliveTimer(target.port));
  await writeFile(join(dir.path, "seen"), "");
  await copying;
});

/** Of connections to this port of 127.0.0.1, as proc_net_tcp(5) has it: timer 2. */
function hasKeepaliveTimer(port: number): boolean {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .some((fields) => fields[2] === remote && fields[3] === "01" && fields[5]?.startsWith("02:"));
}

/** The most that a target was given to write since the begin of the last flush that it had answered. */
function unflushedIn(log: string): { most: number; flushes: number } {
  let [given, covered, flushed, most, flushes] = [0, 0, 0, 0, 0];
  for (const [, answer, kind, count] of log.matchAll(
    / (\.*)(Write|Flush) id=\d+(?: offset=\w+ count=(\w+))?/g,
  )) {
    if (kind === "Write" && answer === "") given += Number(count);
    else if (kind === "Flush" && answer === "") covered = given;
    else if (kind === "Flush") flushed = covered;
    if (kind === "Flush" && answer !== "") flushes++;
    most = Math.max(most, given - flushed);
  }
  return { most, flushes };
}
