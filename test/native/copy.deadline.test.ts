/** A copy under a deadline: the server's own log says what was written when. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Engine, type RetryEvent, readClocks } from "../../src/nbd/copy-engine/copy-engine.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { startQemuNbd } from "../lab/targets.ts";
import { makeNbdCertificates } from "../lab/tls.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { until } from "../until.ts";
import { makeDirty } from "./images.ts";
import { sameBytes, startNbdkit } from "./servers.ts";

const MiB = 1 << 20;
const child = fileURLToPath(new URL("deadline-child.ts", import.meta.url));

interface Site extends AsyncDisposable {
  readonly from: string;
  readonly to: string;
  readonly source: NbdServer;
  readonly target: NbdServer;
  /** How many writes and zeroings have reached the server. */
  written(): number;
  /** The same, once nothing has come for a second: what was under way has arrived. */
  writtenInAll(): Promise<number>;
}

/** `source`, `target`: more for either nbdkit. */
async function makeSite(
  sizeBytes: number,
  source: string[] = [],
  target: string[] = [],
): Promise<Site> {
  const stack = new AsyncDisposableStack();
  const dir = stack.use(await tempDir());
  const [from, to, log] = ["from", "to", "log"].map((name) => join(dir.path, name)) as [
    string,
    string,
    string,
  ];
  await makeDirty(from, sizeBytes, new Random(1));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const reads = stack.use(
    await startNbdkit(
      dir.path,
      "-r",
      ...(source.length > 0 ? ["--filter=delay"] : []),
      "file",
      from,
      ...source,
    ),
  );
  const filters = ["--filter=log", ...(target.length > 0 ? ["--filter=delay"] : [])];
  const writes = stack.use(
    await startNbdkit(dir.path, ...filters, "file", to, `logfile=${log}`, ...target),
  );
  const written = () =>
    existsSync(log) ? (readFileSync(log, "utf8").match(/ (Write|Zero|Trim) id=/g) ?? []).length : 0;
  const writtenInAll = async () => {
    for (let before = -1; ; ) {
      const now = written();
      if (now === before) return now;
      before = now;
      await sleep(1000);
    }
  };
  return {
    ...{ from, to, source: reads, target: writes, written, writtenInAll },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const inMs = (ms: number, wallAheadMs = 0) => {
  const { bootMs, wallMs } = readClocks();
  return { bootMs: bootMs + ms, wallMs: wallMs + ms - wallAheadMs };
};

/** A copy that pauses at `deadline`, is shown to write nothing, and goes on once that is moved. */
async function pausesAndGoesOn(wallAheadMs: number): Promise<void> {
  const sizeBytes = 24 * MiB;
  await using site = await makeSite(sizeBytes, ["rdelay=60ms"]);
  using engine = new Engine({ memoryBytes: 4 * MiB, stallTimeoutMs: 500 });
  engine.writeUntil(inMs(60_000));
  const troubles: RetryEvent[] = [];
  let copied = 0;
  let ended = false;
  const copying = engine.copy({
    source: { uri: site.source.uri, connections: 1 },
    target: { uri: site.target.uri, connections: 1 },
    capacityBytes: sizeBytes,
    requestBytes: 64 << 10,
    retry: { attempts: 1, maxElapsedMs: 500 },
    onChunks: (chunks) => {
      copied += chunks.length / 3;
    },
    onRetry: (trouble) => troubles.push(trouble),
  });
  copying.then(
    () => (ended = true),
    () => (ended = true),
  );
  await until("something was copied", () => copied > 0 && site.written() > 20);
  engine.writeUntil(wallAheadMs > 0 ? inMs(60_000, wallAheadMs) : inMs(0));
  const before = await site.writtenInAll();
  await sleep(1500);
  assert.equal(site.written(), before, "it wrote on");
  assert.equal(ended, false, "it ended while it was to wait");
  engine.writeUntil(inMs(60_000));
  const result = await copying;
  assert.ok(site.written() > before);
  assert.ok(await sameBytes(site.from, site.to, sizeBytes), "the target differs");
  assert.deepEqual(troubles, [], "the wait counted as the target's fault");
  assert.equal(result.writtenBytes, sizeBytes, "something was written twice");
}

test("when the deadline is over nothing is written, and the copy goes on when it is moved", () =>
  pausesAndGoesOn(0));

test("a wall clock that is ahead of the deadline counts, whatever the other says", () =>
  pausesAndGoesOn(3_600_000));

test("a copy that begins behind the deadline waits with its first byte, and can be aborted", async () => {
  await using site = await makeSite(4 * MiB);
  using engine = new Engine();
  engine.writeUntil(inMs(-1));
  const stop = new AbortController();
  const copying = engine.copy({
    source: { uri: site.source.uri },
    target: { uri: site.target.uri },
    capacityBytes: 4 * MiB,
    signal: stop.signal,
  });
  copying.catch(() => {});
  assert.equal(await site.writtenInAll(), 0);
  stop.abort(new Error("lost"));
  await assert.rejects(copying, /lost/);
  assert.equal(site.written(), 0);
});

test("a comparison waits as well, without its source, and goes on when the deadline is moved", async () => {
  await using site = await makeSite(2 * MiB);
  using engine = new Engine();
  engine.writeUntil(inMs(-1));
  let retries = 0;
  const comparing = engine.compare({
    ...{ source: { uri: site.source.uri }, target: { uri: site.target.uri } },
    capacityBytes: 2 * MiB,
    onRetry: () => void retries++,
  });
  let ended = false;
  const outcome = comparing.finally(() => {
    ended = true;
  });
  await site.source.stop();
  await sleep(1500);
  assert.deepEqual({ ended, retries }, { ended: false, retries: 0 });
  await site.source.start();
  engine.writeUntil(inMs(60_000));
  const { comparedBytes, differingBytes } = await outcome;
  assert.equal(comparedBytes, 2 * MiB);
  assert.ok(differingBytes > 0);
});

test("a server that goes while nothing may be written is found again afterwards", async () => {
  const sizeBytes = 16 * MiB;
  await using site = await makeSite(sizeBytes, ["rdelay=40ms"]);
  using engine = new Engine({ memoryBytes: 4 * MiB });
  engine.writeUntil(inMs(60_000));
  const copying = engine.copy({
    source: { uri: site.source.uri, connections: 1 },
    target: { uri: site.target.uri },
    capacityBytes: sizeBytes,
    requestBytes: 64 << 10,
  });
  copying.catch(() => {});
  await until("something was written", () => site.written() > 20);
  engine.writeUntil(inMs(0));
  await site.writtenInAll();
  await site.target.kill();
  await site.target.start();
  engine.writeUntil(inMs(60_000));
  await copying;
  assert.ok(await sameBytes(site.from, site.to, sizeBytes), "the target differs");
});

test("over TLS the same: the deadline passes in mid-copy, and the target ends equal", async () => {
  const sizeBytes = 12 * MiB;
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(2));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const tls = await makeNbdCertificates(dir.path);
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--filter=delay", "file", from, "rdelay=40ms"],
  );
  await using target = await startQemuNbd({ file: to, tls });
  using engine = new Engine({ memoryBytes: 4 * MiB });
  engine.writeUntil(inMs(60_000));
  let copied = 0;
  const copying = engine.copy({
    source: { uri: source.uri, connections: 1 },
    target: { uri: `nbds://localhost:${target.port}/`, tlsCertDir: tls.clientDir },
    capacityBytes: sizeBytes,
    requestBytes: 64 << 10,
    onChunks: (chunks) => {
      copied += chunks.length / 3;
    },
  });
  copying.catch(() => {});
  await until("something was copied", () => copied > 4);
  engine.writeUntil(inMs(0));
  await sleep(1000);
  const before = await readFile(to);
  await sleep(1000);
  assert.ok(before.equals(await readFile(to)), "it wrote on");
  engine.writeUntil(inMs(60_000));
  await copying;
  assert.ok(await sameBytes(from, to, sizeBytes), "the target differs");
});

const stops = Number(process.env.MIGRATEKIT_STOPS ?? 4);

test("a process that is stopped in the middle of its writes and continued too late writes nothing more", async () => {
  const sizeBytes = 192 * MiB;
  for (let round = 0; round < stops; round++) {
    // The target is slower than what is sent, so that requests are cut off anywhere.
    await using site = await makeSite(sizeBytes, [], ["wdelay=3ms"]);
    const node = [child, site.source.uri, site.target.uri, String(sizeBytes), "2500"];
    const copy = spawn(process.execPath, node, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(copy, "exit");
    try {
      await until("it writes", () => site.written() > 10 + round, 20_000);
      copy.kill("SIGSTOP");
      await sleep(3000);
      const before = await site.writtenInAll();
      copy.kill("SIGCONT");
      const [said] = await once(copy.stdout.setEncoding("utf8"), "data");
      assert.equal(said, "late\n");
      const after = await site.writtenInAll();
      assert.equal(after, before, `${after - before} writes came after the deadline`);
      assert.equal(await sameBytes(site.from, site.to, sizeBytes), false, "it had ended before");
    } finally {
      copy.kill("SIGKILL");
      await ended;
    }
  }
});
