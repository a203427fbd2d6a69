import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type CopyResult, Engine, type EngineNote } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage, makeSparse } from "./images.ts";
import { sameBytes, startNbdkit, startNbdServer, startQemuNbd } from "./servers.ts";

const MiB = 1 << 20;
const sizeBytes = 8 * MiB + 4096;

interface Case {
  source?: string[];
  target: string[];
  /** The target file's content before the copy [old data all over]. */
  empty?: boolean;
  targetIsZero?: boolean;
}

interface Outcome extends CopyResult {
  notes: EngineNote[];
}

/** Copies a sparse image from nbdkit to nbdkit, checks the bytes, gives what the engine did. */
async function copyVia(options: Case): Promise<Outcome> {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeImage(from, sizeBytes, new Random(7), 1);
  if (options.empty) await makeSparse(to, sizeBytes);
  else await makeDirty(to, sizeBytes, new Random(8));
  await using source = await startNbdkit(
    dir.path,
    ...fill(options.source ?? ["-r", "file", "FILE"], from),
  );
  await using target = await startNbdkit(dir.path, ...fill(options.target, to));
  // Less memory than disk: nothing may need the whole of it at once.
  using engine = new Engine({ memoryBytes: 4 * MiB });
  const notes: EngineNote[] = [];
  const result = await engine.copy({
    source: { uri: source.uri },
    target: { uri: target.uri },
    capacityBytes: sizeBytes,
    targetIsZero: options.targetIsZero ?? false,
    onNote: (note) => notes.push(note),
  });
  assert.ok(await sameBytes(from, to, sizeBytes), "the target differs");
  return { ...result, notes };
}

const fill = (args: string[], file: string): string[] =>
  args.map((arg) => arg.replaceAll("FILE", file));

// A target in shell, on a file, so that single abilities can be given or taken.
const evalTarget = (zero: string, trim: string, ...more: string[]): string[] => [
  "--filter=noextents",
  // Without this filter nbdkit would offer write-zeroes in the plugin's stead.
  ...(zero ? [] : ["--filter=nozero"]),
  "eval",
  `get_size=echo ${sizeBytes}`,
  "pread=dd if=FILE iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=65536 status=none",
  "pwrite=dd of=FILE oflag=seek_bytes seek=$4 bs=65536 conv=notrunc status=none iflag=fullblock",
  "flush=exit 0",
  "can_write=exit 0",
  "can_flush=exit 0",
  `can_zero=${zero ? "exit 0" : "exit 3"}`,
  `can_trim=${trim ? "exit 0" : "exit 3"}`,
  ...(zero ? [`zero=${zero}`] : []),
  ...(trim ? [`trim=${trim}`] : []),
  ...more,
];

test("a target that is proved to be zero gets no zeroes at all", async () => {
  const result = await copyVia({ target: ["file", "FILE"], empty: true });
  assert.equal(result.zeroMethod, "skip");
  assert.equal(result.zeroedBytes, 0);
  assert.ok(result.skippedBytes > 4 * MiB);
});

test("a target that the operator calls zero gets no zeroes, proof or not", async () => {
  const target = ["--filter=noextents", "file", "FILE"];
  const result = await copyVia({ target, empty: true, targetIsZero: true });
  assert.equal(result.zeroMethod, "skip");
  assert.equal(result.zeroedBytes, 0);
});

test("a sparse target without proof is zeroed where there is little: its zeroes are not guessed", async () => {
  const result = await copyVia({ target: ["--filter=noextents", "file", "FILE"], empty: true });
  assert.equal(result.zeroMethod, "write-zeroes");
  assert.ok(result.zeroedBytes > 4 * MiB);
});

test("old data on the target is zeroed where the source has holes", async () => {
  const result = await copyVia({ target: ["file", "FILE"] });
  assert.equal(result.zeroMethod, "write-zeroes");
  assert.ok(result.zeroedBytes > 4 * MiB);
});

const punch = "fallocate -p -o $4 -l $3 FILE";

test("fast zero is used where it is offered", async () => {
  const target = evalTarget(punch, "", "can_fast_zero=exit 0");
  assert.equal((await copyVia({ target })).zeroMethod, "fast-zero");
});

test("a refused fast zero falls back to write-zeroes, once for the job", async () => {
  const refuse = `case "$5" in *fast*) echo ENOTSUP >&2; exit 1;; *) ${punch};; esac`;
  const result = await copyVia({ target: evalTarget(refuse, "", "can_fast_zero=exit 0") });
  assert.equal(result.zeroMethod, "write-zeroes");
  assert.equal(result.retries, 0);
});

test("refused write-zeroes fall back to data, without counting as a failure", async () => {
  const result = await copyVia({
    target: [
      "--filter=error",
      ...evalTarget(punch, ""),
      "error-zero=EINVAL",
      "error-zero-rate=100%",
    ],
  });
  assert.equal(result.zeroMethod, "data");
  assert.equal(result.retries, 0);
  assert.match(result.notes[0]?.message ?? "", /refused write-zeroes/);
});

test("a zero range larger than the memory is cut when the server wants to have it as data", async () => {
  // Fast zeroes go out in one large request, which is then refused in both ways.
  const target = evalTarget("echo EINVAL >&2; exit 1", "", "can_fast_zero=exit 0");
  const result = await copyVia({ target, source: ["-r", "file", "FILE"] });
  assert.equal(result.zeroMethod, "data");
  assert.equal(result.retries, 0);
  assert.equal(result.writtenBytes, sizeBytes);
});

test("without write-zeroes a trim is used, where reading back proves it", async () => {
  const result = await copyVia({ target: ["--filter=nozero", "file", "FILE"] });
  assert.equal(result.zeroMethod, "trim");
});

test("a trim that leaves the old bytes is found out and replaced by data", async () => {
  const result = await copyVia({ target: evalTarget("", "exit 0") });
  assert.equal(result.zeroMethod, "data");
  assert.match(result.notes[0]?.message ?? "", /do not read as zero/);
});

test("without write-zeroes and trim the zeroes are written", async () => {
  const result = await copyVia({ target: evalTarget("", "") });
  assert.equal(result.zeroMethod, "data");
  assert.equal(result.writtenBytes, sizeBytes);
});

test("a source without extents is read", async () => {
  const result = await copyVia({
    source: ["-r", "--no-sr", "file", "FILE"],
    target: ["file", "FILE"],
  });
  assert.equal(result.sourceExtentsUsed, false);
  assert.equal(result.readBytes, sizeBytes);
});

test("a source whose extents fail is read, and a note says so", async () => {
  const error = ["error-extents=EIO", "error-extents-rate=100%"];
  const result = await copyVia({
    source: ["-r", "--filter=error", "file", "FILE", ...error],
    target: ["file", "FILE"],
  });
  assert.equal(result.readBytes, sizeBytes);
  assert.match(result.notes[0]?.message ?? "", /block status failed/);
});

test("extents that come back a piece at a time are asked for to the end", async () => {
  // Without the whole answer the holes would have been read.
  const result = await copyVia({
    source: ["-r", "--filter=blocksize", "file", "FILE", "maxlen=65536"],
    target: ["file", "FILE"],
  });
  assert.ok(result.readBytes < 5 * MiB, `read ${result.readBytes}`);
});

test("the target's block size is kept, and what lies behind the disk on it stays", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  const capacityBytes = 3 * MiB + 1000;
  const targetBytes = 4 * MiB;
  await makeImage(from, capacityBytes, new Random(3));
  await makeDirty(to, targetBytes, new Random(4));
  const before = await readFile(to);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=blocksize-policy", "file", to],
    ...["blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=65536"],
    "blocksize-error-policy=error",
  );
  using engine = new Engine();
  await engine.copy({ source, target, capacityBytes });
  const after = await readFile(to);
  assert.ok(await sameBytes(from, to, capacityBytes));
  assert.ok(after.subarray(capacityBytes).equals(before.subarray(capacityBytes)));
});

test("a source larger than the disk is copied up to the disk's end", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, 2 * MiB, new Random(5));
  await writeFile(to, Buffer.alloc(2 * MiB, 1));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startQemuNbd(dir.path, to);
  using engine = new Engine();
  await engine.copy({ source, target, capacityBytes: MiB + 513 });
  const after = await readFile(to);
  assert.ok(await sameBytes(from, to, MiB + 513));
  assert.ok(after.subarray(MiB + 513).every((byte) => byte === 1));
});

test("nbd-server, which speaks only simple replies, receives an exact copy", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeImage(from, sizeBytes, new Random(11));
  await makeDirty(to, sizeBytes, new Random(12));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdServer(dir.path, to);
  using engine = new Engine();
  const result = await engine.copy({ source, target, capacityBytes: sizeBytes });
  assert.equal(result.zeroMethod, "write-zeroes");
  assert.ok(await sameBytes(from, to, sizeBytes));
});
