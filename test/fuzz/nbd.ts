// The copy engine against servers that break the protocol, as source, as target and as both: every
// run ends in time, with a result that is right or with an error of the engine's closed set.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  digestRanges,
  Engine,
  type NbdEndpoint,
  NbdError,
  probeExport,
} from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { inTime, type Outcome } from "./campaign.ts";
import { type Trick, tricks } from "./nbd-mischief.ts";
import { type Message, type Mischief, type ServedMemory, startMischievous } from "./nbd-server.ts";
import { allFlags, readOnlyFlag } from "./nbd-wire.ts";

/** Longer than every limit that a run is given, times as slow as a busy machine may be. */
const runTimeoutMs = 30_000;
const connectTimeoutMs = 700;
const stallTimeoutMs = 400;

const jobs = ["probe", "digest", "copy-from", "copy-to", "copy-both", "compare"] as const;
type Job = (typeof jobs)[number];

/** A trick played at one place, once or always. */
interface Play {
  readonly trick: Trick;
  readonly from: number;
  readonly times: number;
}

/** Scripted first: every trick at its first and a later chance, in every job; then at random. */
export function scriptedRuns(): number {
  return tricks.length * jobs.length * 2;
}

export async function runNbd(index: number, seed: number): Promise<Outcome> {
  const random = new Random(seed + index * 7919);
  const scripted = index < scriptedRuns();
  const job = scripted ? jobs[index % jobs.length]! : random.pick(jobs);
  const plays: Play[] = scripted ? [scriptedPlay(index, random)] : randomPlays(random);
  const what = `${job}: ${plays.map(({ trick, from, times }) => `${trick.name} (${from}+${times})`).join(", ")}`;
  try {
    return await inTime(runJob(job, plays, random), runTimeoutMs);
  } catch (error) {
    throw new Error(what, { cause: error });
  }
}

function scriptedPlay(index: number, random: Random): Play {
  const trick = tricks[Math.floor(index / (jobs.length * 2))]!;
  const late = Math.floor(index / jobs.length) % 2 === 1;
  return { trick, from: late ? 2 : 0, times: random.pick([1, 1000]) };
}

function randomPlays(random: Random): Play[] {
  return Array.from({ length: random.below(4) }, () => ({
    trick: random.pick(tricks),
    from: random.pick([0, 0, 1, 2, 5]),
    times: random.pick([1, 1, 2, 1000]),
  }));
}

async function runJob(job: Job, plays: readonly Play[], random: Random): Promise<Outcome> {
  const capacityBytes = 512 * (1 + random.below(1024));
  const disk = diskOf(capacityBytes, random);
  const dirty = random.bytes(64);
  const volume = Buffer.alloc(capacityBytes + 512 * random.below(3), dirty);
  const folder = mkdtempSync(join(tmpdir(), "mk-fuzz-"));
  const mean = (playing: boolean) => mischiefOf(playing ? plays : [], random);
  const place = (name: string) => (random.chance(0.8) ? join(folder, name) : undefined);
  const onSource = ["probe", "digest", "copy-from", "copy-both", "compare"].includes(job);
  const onTarget = ["copy-to", "copy-both"].includes(job);
  const sourceServed = servedOf(disk, onSource && plays.length > 0, random);
  const targetServed = servedOf(volume, onTarget && plays.length > 0, random);
  try {
    await using source = await startMischievous(sourceServed, mean(onSource), place("s"));
    await using target = await startMischievous(targetServed, mean(onTarget), place("t"));
    const lied = plays.some(({ trick }) => trick.lie);
    const sound = { disk, volume, lied };
    return await attempt(async () => {
      if (job === "probe") await probe(source, sourceServed, lied);
      else if (job === "digest") await digest(source, sound);
      else if (job === "compare") await compare(source, target, sound, random);
      else {
        await copy(source, target, sound, random);
        const canFlush = ((targetServed.flags ?? allFlags) & 4) !== 0;
        assert.ok(target.flushed || !canFlush, "a success without a flush after the last write");
      }
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** True only for errors of the engine's own closed set, on one line. */
async function attempt(work: () => Promise<void>): Promise<Outcome> {
  try {
    await work();
    return "value";
  } catch (error) {
    if (!(error instanceof NbdError)) throw error;
    assert.match(error.code, /^ENGINE_[A-Z_]+$/);
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    assert.ok(error.message.length > 5 && error.message.length < 6_000, error.message);
    return "error";
  }
}

interface Sound {
  readonly disk: Buffer;
  readonly volume: Buffer;
  readonly lied: boolean;
}

async function probe(server: NbdEndpoint, served: ServedMemory, lied: boolean): Promise<void> {
  const info = await probeExport({ uri: server.uri }, { timeoutMs: connectTimeoutMs });
  assert.ok(Number.isSafeInteger(info.sizeBytes) && info.sizeBytes >= 0, `${info.sizeBytes}`);
  // What libnbd cannot count, or was not told, is 0: every disk is too large for such a target.
  if (!lied && info.sizeBytes !== 0)
    assert.equal(BigInt(info.sizeBytes), served.sizeBytes ?? BigInt(served.memory.length));
}

async function digest(server: NbdEndpoint, { disk, lied }: Sound): Promise<void> {
  const half = disk.length >> 1;
  const ranges = Float64Array.of(0, half, half, disk.length - half);
  const timeouts = { timeoutMs: 2 * connectTimeoutMs };
  const hashes = await digestRanges({ uri: server.uri }, ranges, timeouts);
  if (!lied)
    assert.deepEqual(hashes, [hashOf(disk.subarray(0, half)), hashOf(disk.subarray(half))]);
}

async function copy(
  source: NbdEndpoint,
  target: NbdEndpoint,
  { disk, volume, lied }: Sound,
  random: Random,
): Promise<void> {
  using engine = new Engine({ memoryBytes: 4 << 20 });
  await engine.copy({
    source: { uri: source.uri, ...connections(random) },
    target: { uri: target.uri, ...connections(random) },
    capacityBytes: disk.length,
    requestBytes: random.pick([4096, 32_768, 262_144]),
    sourceExtents: random.chance(0.7),
    stallTimeoutMs,
    flushTimeoutMs: stallTimeoutMs,
    retry: { attempts: 2, maxElapsedMs: 1_000 },
  });
  if (!lied) assert.ok(volume.subarray(0, disk.length).equals(disk), "a false success");
}

async function compare(
  source: NbdEndpoint,
  target: NbdEndpoint,
  { disk, volume, lied }: Sound,
  random: Random,
): Promise<void> {
  const equal = random.chance(0.5);
  if (equal) disk.copy(volume);
  using engine = new Engine({ memoryBytes: 4 << 20 });
  const result = await engine.compare({
    source: { uri: source.uri, ...connections(random) },
    target: { uri: target.uri },
    capacityBytes: disk.length,
    stallTimeoutMs,
    flushTimeoutMs: stallTimeoutMs,
    retry: { attempts: 2, maxElapsedMs: 1_000 },
  });
  const same = volume.subarray(0, disk.length).equals(disk);
  if (!lied) assert.equal(result.differingBytes === 0, same, "a false verdict");
}

function connections(random: Random): { connections?: number } {
  return random.chance(0.5) ? { connections: 1 + random.below(3) } : {};
}

/** Applies each play to the chances it was made for; counts over all connections. */
function mischiefOf(plays: readonly Play[], random: Random): Mischief {
  const chances = plays.map(() => 0);
  return (message: Message) => {
    for (const [at, { trick, from, times }] of plays.entries()) {
      if (!trick.kinds.includes(message.kind)) continue;
      const chance = chances[at]!++;
      if (chance >= from && chance < from + times) return trick.act(message, random);
    }
    return { bytes: message.bytes };
  };
}

const strangeSizes = [0n, 1n, 511n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
const strangeBlocks = [
  [0, 0, 0],
  [3, 5, 7],
  [4096, 512, 1024],
  [1 << 31, 1 << 31, 1 << 31],
  [1, 4096, 0xffffffff],
  [65_536, 65_536, 65_536],
  [512, 4096, 1000],
] as const;

/** Mostly an ordinary server; some say strange things of themselves from the beginning. */
function servedOf(memory: Buffer, mean: boolean, random: Random): ServedMemory {
  const odd = (probability: number) => mean && random.chance(probability);
  return {
    memory,
    structured: random.chance(0.8),
    extents: random.chance(0.7),
    go: random.chance(0.9),
    ...(odd(0.08) ? { sizeBytes: random.pick(strangeSizes) } : {}),
    ...(odd(0.05) ? { sizeBytes: BigInt(memory.length - 512) } : {}),
    ...(odd(0.1)
      ? { flags: random.pick([0, 1, allFlags | readOnlyFlag, 0xffff, 2048 | allFlags]) }
      : {}),
    ...(odd(0.1) ? { blockSizes: random.pick(strangeBlocks) } : {}),
  };
}

function diskOf(length: number, random: Random): Buffer {
  const disk = Buffer.alloc(length);
  for (let at = 0; at < length; at += 16_384) {
    if (random.chance(0.6)) disk.fill(random.bytes(61), at, Math.min(length, at + 12_288));
  }
  return disk;
}

function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
