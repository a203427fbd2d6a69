import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CopyOptions, Engine, NbdError } from "../../src/nbd/copy-engine/copy-engine.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage, randomExtents } from "./images.ts";
import { startNbdkit, startNbdServer, startQemuNbd } from "./servers.ts";

const seeds = Number(process.env.MIGRATEKIT_SEEDS ?? 40);
const firstSeed = Number(process.env.MIGRATEKIT_FIRST_SEED ?? 1);
const lanes = 3;

test(`${seeds} random copies under faults end equal or with an error, never with a false success`, async () => {
  const outcomes = { equal: 0, failed: 0 };
  let next = firstSeed;
  const lane = async (): Promise<void> => {
    while (next < firstSeed + seeds) {
      const seed = next++;
      try {
        outcomes[await runSeed(seed)]++;
      } catch (error) {
        next = Number.POSITIVE_INFINITY; // the other lanes end, too
        throw new Error(`seed ${seed} (MIGRATEKIT_FIRST_SEED=${seed} MIGRATEKIT_SEEDS=1)`, {
          cause: error,
        });
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  // Faults that a retry can mend must be mended: most runs succeed.
  assert.ok(outcomes.equal >= seeds * 0.6, JSON.stringify(outcomes));
});

/** One random disk, random servers, random faults. */
async function runSeed(seed: number): Promise<"equal" | "failed"> {
  const random = new Random(seed);
  await using dir = await tempDir();
  const path = (name: string): string => join(dir.path, name);
  // Some have holes that are large enough to find out whether the target had better be read.
  const roomy = random.chance(0.3);
  // Some are small and copied at a rate of which less than a large block goes at once.
  const throttled = !roomy && random.chance(0.15);
  const capacityBytes = 1 + random.below(throttled ? 700_000 : 12 << 20) + (roomy ? 36 << 20 : 0);
  const roundTo = random.pick([4096, 65536]);
  const roundedBytes = Math.ceil(capacityBytes / roundTo) * roundTo;
  const targetBytes = random.pick([capacityBytes, roundedBytes, capacityBytes + 511, 48 << 20]);
  await makeImage(path("source"), capacityBytes, random);
  if (random.chance(roomy ? 0.7 : 0.2)) await makeImage(path("target"), targetBytes, random, 3);
  else await makeDirty(path("target"), targetBytes, random);
  const before = await readFile(path("target"));
  const extents = random.chance(0.5)
    ? randomExtents(capacityBytes, random, 1 + random.below(60), random.pick([512, 4096, 65536]))
    : undefined;

  await using source = await startNbdkit(dir.path, ...sourceArguments(random, path("source")));
  const { server, blockBytes } = await startTarget(random, dir.path, path("target"), targetBytes);
  await using target = server;
  using engine = new Engine({
    memoryBytes: random.pick([4, 8, 32]) << 20,
    maxBytesPerSecond: throttled ? 1_000_000 : 0,
  });
  const chaos = new Chaos(random, [source, target]);
  const options: CopyOptions = {
    source: { uri: source.uri, ...connections(random) },
    target: { uri: target.uri, ...connections(random) },
    capacityBytes,
    requestBytes: random.pick([16384, 65536, 1 << 20, 2 << 20]),
    sourceExtents: random.chance(0.8),
    stallTimeoutMs: 2000,
    flushTimeoutMs: 2000,
    retry: { attempts: 8, maxElapsedMs: 20_000 },
    checkpointIntervalMs: random.pick([20, 200, 5000]),
    ...(extents ? { extents: random.chance(0.5) ? extents : pages(extents, random) } : {}),
    ...(random.chance(0.3) ? { gapBytes: random.pick([4096, 65536, 1 << 20]) } : {}),
  };
  const reported: number[] = [];
  const checkpoints: number[] = [];
  options.onChunks = (chunks) => {
    for (let i = 0; i < chunks.length; i += 3)
      reported.push(chunks[i] as number, chunks[i + 1] as number);
  };
  options.onCheckpoint = () => checkpoints.push(reported.length);
  let outcome: "equal" | "failed";
  try {
    await engine.copy(options);
    outcome = "equal";
  } catch (error) {
    if (!(error instanceof NbdError)) throw error;
    if (process.env.MIGRATEKIT_VERBOSE) console.error(seed, error.message, error);
    outcome = "failed";
  } finally {
    await chaos.stop();
  }
  await target.kill();
  if (outcome === "failed") return outcome;

  const want = extents
    ? await patchedBytes(before, path("source"), widened(extents, blockBytes, capacityBytes))
    : await patchedBytes(before, path("source"), Float64Array.of(0, capacityBytes));
  const have = await readFile(path("target"));
  assert.equal(firstDifference(have, want), -1, "the target differs from the source");
  assertCoversOnce(reported, extents ?? Float64Array.of(0, capacityBytes), capacityBytes);
  return outcome;
}

/** A target that takes only whole blocks gets the source's bytes around an extent, too. */
function widened(extents: Float64Array, blockBytes: number, capacityBytes: number): Float64Array {
  return extents.map((value, i) => {
    const start = i % 2 === 0 ? value : (extents[i - 1] as number);
    const widenedStart = Math.floor(start / blockBytes) * blockBytes;
    if (i % 2 === 0) return widenedStart;
    const end = Math.ceil((start + value) / blockBytes) * blockBytes;
    return Math.min(end, capacityBytes) - widenedStart;
  });
}

async function patchedBytes(
  before: Buffer,
  source: string,
  extents: Float64Array,
): Promise<Buffer> {
  const bytes = Buffer.from(before);
  const from = await readFile(source);
  for (let i = 0; i < extents.length; i += 2) {
    const offset = extents[i] as number;
    from.copy(bytes, offset, offset, offset + (extents[i + 1] as number));
  }
  return bytes;
}

function firstDifference(a: Buffer, b: Buffer): number {
  if (a.equals(b)) return -1;
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return -1;
}

/** Every byte of the extents was reported once: widened to sectors at most. */
function assertCoversOnce(reported: number[], extents: Float64Array, capacityBytes: number): void {
  const ranges: [number, number][] = [];
  for (let i = 0; i < reported.length; i += 2)
    ranges.push([reported[i] as number, reported[i + 1] as number]);
  ranges.sort((a, b) => a[0] - b[0]);
  let end = 0;
  let sum = 0;
  for (const [offset, length] of ranges) {
    assert.ok(offset >= end, `chunk at ${offset} overlaps one that ends at ${end}`);
    end = offset + length;
    sum += length;
  }
  assert.ok(end <= capacityBytes);
  let wanted = 0;
  for (let i = 1; i < extents.length; i += 2) wanted += extents[i] as number;
  assert.ok(sum >= wanted, `reported ${sum} of ${wanted} bytes`);
}

async function* pages(extents: Float64Array, random: Random): AsyncIterable<Float64Array> {
  for (let at = 0; at < extents.length; ) {
    const size = 2 * (1 + random.below(10));
    yield extents.subarray(at, at + size);
    at += size;
    if (random.chance(0.2)) await sleep(random.below(30));
  }
}

function connections(random: Random): { connections?: number } {
  return random.chance(0.5) ? {} : { connections: 1 + random.below(4) };
}

function sourceArguments(random: Random, file: string): string[] {
  const filters: string[] = [];
  const parameters: string[] = [];
  const filter = (name: string, ...values: string[]): void => {
    filters.push(`--filter=${name}`);
    parameters.push(...values);
  };
  if (random.chance(0.3)) filter("noextents");
  if (random.chance(0.3)) filter("multi-conn", "multi-conn-mode=disable");
  if (random.chance(0.4))
    filter(
      "error",
      `error-pread=${random.pick(["EIO", "ENOMEM", "ESHUTDOWN"])}`,
      `error-pread-rate=${random.pick(["1%", "10%", "30%"])}`,
    );
  if (random.chance(0.2)) filter("error", "error-extents=EIO", "error-extents-rate=100%");
  if (random.chance(0.4)) filter("delay", `rdelay=${random.pick(["1ms", "5ms", "20ms"])}`);
  return ["-r", ...new Set(filters), "file", file, ...parameters];
}

async function startTarget(
  random: Random,
  dir: string,
  file: string,
  sizeBytes: number,
): Promise<{ server: NbdServer; blockBytes: number }> {
  const kind = random.pick(["nbdkit", "nbdkit", "qemu", "nbd-server"]);
  if (kind === "qemu") return { server: await startQemuNbd(dir, file), blockBytes: 1 };
  if (kind === "nbd-server") return { server: await startNbdServer(dir, file), blockBytes: 1 };
  let blockBytes = 1;
  const filters: string[] = [];
  const parameters: string[] = [];
  if (random.chance(0.3)) filters.push("--filter=nozero");
  if (random.chance(0.3)) filters.push("--filter=nofua");
  if (random.chance(0.4)) filters.push("--filter=noextents");
  if (random.chance(0.4)) {
    filters.push("--filter=error");
    parameters.push(
      "error-pread=EIO",
      `error-pread-rate=${random.pick(["0%", "0%", "5%"])}`,
      "error-pwrite=EIO",
      `error-pwrite-rate=${random.pick(["1%", "10%", "30%"])}`,
      "error-zero=EIO",
      `error-zero-rate=${random.pick(["0%", "20%"])}`,
    );
  }
  if (random.chance(0.3)) {
    filters.push("--filter=delay");
    parameters.push(random.pick(["wdelay=3ms", "delay-zero=3ms", "rdelay=2ms"]));
  }
  // Whole blocks only; such a server's size is a multiple of them.
  const fitting = [512, 4096, 65536].filter((bytes) => sizeBytes % bytes === 0);
  if (random.chance(0.4) && fitting.length > 1) {
    blockBytes = random.pick(fitting);
    filters.push("--filter=blocksize-policy");
    parameters.push(
      `blocksize-minimum=${blockBytes}`,
      `blocksize-preferred=${Math.max(blockBytes, 4096)}`,
      `blocksize-maximum=${random.pick([65536, 1 << 25])}`,
      "blocksize-error-policy=error",
    );
  }
  const server = await startNbdkit(
    dir,
    ...filters.filter((name) => name !== "--filter=nofua"),
    "file",
    file,
    ...parameters,
  );
  return { server, blockBytes };
}

/** Kills and restarts servers, or freezes them for longer than the stall limit, while a copy runs. */
class Chaos {
  #over = false;
  readonly #done: Promise<void>;

  constructor(random: Random, servers: NbdServer[]) {
    this.#done = this.#run(random.chance(0.5) ? 1 + random.below(4) : 0, random, servers);
  }

  async #run(rounds: number, random: Random, servers: NbdServer[]): Promise<void> {
    for (let i = 0; i < rounds && !this.#over; i++) {
      await sleep(random.below(120));
      if (this.#over) return;
      const victim = random.pick(servers);
      await victim.kill();
      await sleep(random.below(150));
      await victim.start();
    }
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#done;
  }
}
