/** Zeroes that the target is seen to hold already: read first where that is cheaper, never believed. */
import assert from "node:assert/strict";
import { open, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CopyResult, Engine, type EngineNote } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage, makeSparse } from "./images.ts";
import { sameBytes, startNbdkit, startNbdServer } from "./servers.ts";

const MiB = 1 << 20;
const sizeBytes = 96 * MiB + 4096;
/** What a trial of both ways writes at most. */
const trialBytes = 6 * MiB;

interface Case {
  /** nbdkit's arguments; FILE is the target's file. */
  target: string[];
  /** Blocks of old data on the target, or all of it; else it is sparse. */
  old?: number[] | "everywhere";
  maxBytesPerSecond?: number;
  targetConnections?: number;
}

type Outcome = CopyResult & { notes: EngineNote[]; allocatedBytes: number };

/** A disk of holes with data here and there, copied to nbdkit, compared, and what the engine did. */
async function copyVia(options: Case): Promise<Outcome> {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeImage(from, sizeBytes, new Random(21), 6);
  await prepareTarget(to, options.old ?? []);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  const args = options.target.map((arg) => arg.replaceAll("FILE", to));
  await using target = await startNbdkit(dir.path, ...args);
  using engine = new Engine({ maxBytesPerSecond: options.maxBytesPerSecond });
  const notes: EngineNote[] = [];
  const result = await engine.copy({
    ...{ source, capacityBytes: sizeBytes },
    target: { ...target, connections: options.targetConnections },
    onNote: (note) => notes.push(note),
  });
  assert.ok(await sameBytes(from, to, sizeBytes), "the target differs");
  return { ...result, notes, allocatedBytes: (await stat(to)).blocks * 512 };
}

async function prepareTarget(path: string, old: number[] | "everywhere"): Promise<void> {
  if (old === "everywhere") return makeDirty(path, sizeBytes, new Random(22));
  await makeSparse(path, sizeBytes);
  await using file = await open(path, "r+");
  for (const offset of old) await file.write(Buffer.alloc(512, 0xa5), 0, 512, offset);
}

/** Without block status, so that nothing but its bytes says what the target holds. */
const mute = ["--filter=noextents"];
const slowZeroes = [...mute, "--filter=delay", "file", "FILE", "delay-zero=20ms"];

test("a target that is quicker read than zeroed is read, and what is zero stays as it is", async () => {
  const result = await copyVia({ target: slowZeroes });
  assert.equal(result.zeroMethod, "read");
  assert.ok(result.zeroedBytes <= trialBytes, `zeroed ${result.zeroedBytes}`);
  assert.ok(result.skippedBytes > 64 * MiB, `skipped ${result.skippedBytes}`);
  assert.ok(result.targetReadBytes >= result.skippedBytes - 4 * MiB);
  assert.ok(result.allocatedBytes < 16 * MiB, `allocated ${result.allocatedBytes}`);
});

test("a single sector of old data in a hole is seen and zeroed", async () => {
  const old = [MiB, 33 * MiB + 512, 50 * MiB, 77 * MiB + 65536, sizeBytes - 8192];
  const result = await copyVia({ target: slowZeroes, old });
  assert.ok(result.targetReadBytes > 0);
  assert.ok(result.zeroedBytes > 0);
});

test("a target that is quicker zeroed than read gets requests to write zeroes", async () => {
  const target = [...mute, "--filter=delay", "file", "FILE", "rdelay=20ms"];
  const result = await copyVia({ target });
  assert.equal(result.zeroMethod, "write-zeroes");
  assert.ok(result.targetReadBytes <= 16 * MiB, `read ${result.targetReadBytes}`);
  assert.ok(result.zeroedBytes > 64 * MiB);
});

test("where neither way is the quicker one, some is read while other zeroes are written", async () => {
  // The zeroes are written as bytes in the server, at the rate at which they can be read.
  const filters = ["--filter=nozero", "--filter=rate", "file", "FILE"];
  const rate = ["zeromode=emulate", "rate=1600M", "burstiness=0.01"];
  // With one loop: a second one might write what is left before the reading begins.
  const result = await copyVia({
    target: [...mute, ...filters, ...rate],
    ...{ old: [50 * MiB], targetConnections: 1 },
  });
  assert.ok(result.targetReadBytes > 16 * MiB, `read ${result.targetReadBytes}`);
  assert.ok(result.zeroedBytes > 16 * MiB, `zeroed ${result.zeroedBytes}`);
});

test("one trial that finds reading slow does not end it", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  const rate = join(dir.path, "rate");
  const bytes = 640 * MiB;
  for (const path of [from, to]) await makeSparse(path, bytes);
  await writeFile(rate, "4000M");
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  const filters = [...mute, "--filter=delay", "--filter=rate", "file", to, "delay-zero=10ms"];
  const rates = [`rate-file=${rate}`, "rate=4000M", "burstiness=0.05"];
  await using target = await startNbdkit(dir.path, ...filters, ...rates);
  using engine = new Engine();
  // The first trial takes some 100 ms; the second begins half a second after it.
  let disturbed: Promise<void> | undefined;
  const disturb = async () => {
    await sleep(300);
    await writeFile(rate, "400M");
    await sleep(800);
    await writeFile(rate, "4000M");
  };
  const result = await engine.copy({
    ...{ source, target, capacityBytes: bytes },
    onChunks: () => {
      disturbed ??= disturb();
    },
  });
  await disturbed;
  assert.ok(result.zeroedBytes < 64 * MiB, `zeroed ${result.zeroedBytes}`);
  assert.ok(result.skippedBytes > bytes - 64 * MiB, `skipped ${result.skippedBytes}`);
});

test("a target full of old data is soon no longer read", async () => {
  const result = await copyVia({ target: slowZeroes, old: "everywhere" });
  assert.ok(result.targetReadBytes <= 16 * MiB, `read ${result.targetReadBytes}`);
  assert.ok(result.zeroedBytes > 64 * MiB);
});

test("a target that cannot be read is zeroed; a note says so, and nothing counts as failed", async () => {
  const errors = ["error-pread=EIO", "error-pread-rate=100%"];
  const target = [...mute, "--filter=error", "file", "FILE", ...errors];
  const result = await copyVia({ target, old: [50 * MiB] });
  assert.equal(result.zeroMethod, "write-zeroes");
  assert.equal(result.retries, 0);
  assert.match(result.notes[0]?.message ?? "", /the target cannot be read/);
});

test("a server that takes zeroes only as bytes is read first", async () => {
  const pwrite =
    "dd of=FILE oflag=seek_bytes seek=$4 bs=65536 conv=notrunc status=none iflag=fullblock";
  const result = await copyVia({
    target: [
      ...["--filter=noextents", "--filter=nozero", "eval", `get_size=echo ${sizeBytes}`],
      "pread=dd if=FILE iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=65536 status=none",
      `pwrite=${pwrite}`,
      ...["flush=exit 0", "can_write=exit 0", "can_flush=exit 0", "can_trim=exit 3"],
    ],
    old: [50 * MiB],
  });
  assert.ok(result.skippedBytes > 64 * MiB, `skipped ${result.skippedBytes}`);
  assert.ok(result.writtenBytes < 24 * MiB, `written ${result.writtenBytes}`);
});

test("under a rate limit the line is not used to read the target", async () => {
  const result = await copyVia({ target: slowZeroes, maxBytesPerSecond: 400 * MiB });
  assert.equal(result.targetReadBytes, 0);
  assert.equal(result.zeroMethod, "write-zeroes");
});

test("nbd-server, which has no block status, keeps its holes", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeImage(from, sizeBytes, new Random(23), 6);
  await prepareTarget(to, [40 * MiB]);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdServer(dir.path, to);
  using engine = new Engine();
  const result = await engine.copy({ source, target, capacityBytes: sizeBytes });
  assert.ok(await sameBytes(from, to, sizeBytes));
  // Which way is the quicker one is the machine's affair; that both add up is not.
  const zero = result.zeroedBytes + result.skippedBytes;
  assert.ok(zero + result.writtenBytes >= sizeBytes, `${zero} and ${result.writtenBytes}`);
  assert.ok(result.targetReadBytes > 0);
});
