/** Servers that work in blocks: pieces consist of whole ones, whatever else decides how large they are. */
import assert from "node:assert/strict";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type CompareResult, Engine } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeImage, makeSparse } from "./images.ts";
import { sameBytes, startNbdkit, startQemuNbd } from "./servers.ts";

const KiB = 1024;
const blockBytes = 64 * KiB;
/** Ends in the middle of a block, and of the last piece that the rate limit below lets go at once. */
const capacityBytes = 5 * blockBytes + 60_000;
const exportBytes = 6 * blockBytes;
/** Bytes a second, of which a twentieth goes at once: less than half a block. */
const maxBytesPerSecond = 500_000;

const blocks = (policy: "allow" | "error", bytes = blockBytes): string[] => [
  `blocksize-minimum=${bytes}`,
  `blocksize-preferred=${bytes}`,
  "blocksize-maximum=1M",
  `blocksize-error-policy=${policy}`,
];

for (const policy of ["allow", "error"] as const)
  test(`a rate limit cuts no block of a target into pieces (unaligned requests: ${policy})`, async () => {
    await using dir = await tempDir();
    const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
    await makeDirty(from, capacityBytes, new Random(1));
    await makeDirty(to, exportBytes, new Random(2));
    const before = await readFile(to);
    await using source = await startNbdkit(dir.path, "-r", "file", from);
    // Slow writes: pieces of one block would be in flight together.
    await using target = await startNbdkit(
      dir.path,
      ...["--filter=blocksize-policy", "--filter=delay", "file", to, "wdelay=200ms"],
      ...blocks(policy),
    );
    using engine = new Engine({ maxBytesPerSecond });
    await engine.copy({ source, target, capacityBytes });
    assert.ok(await sameBytes(from, to, capacityBytes));
    const behind = (await readFile(to)).subarray(capacityBytes);
    assert.ok(behind.equals(before.subarray(capacityBytes)), "what lies behind the disk changed");
  });

test("holes that begin or end inside a target's block are cut to whole blocks", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  const sizeBytes = 64 * blockBytes;
  await makeSparse(from, sizeBytes);
  {
    await using file = await open(from, "r+");
    for (let at = 4 * KiB; at < sizeBytes; at += 5 * blockBytes + 4 * KiB)
      await file.write(new Random(at).bytes(8 * KiB), 0, 8 * KiB, at);
  }
  await makeDirty(to, sizeBytes, new Random(3));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=blocksize-policy", "file", to, ...blocks("error")],
  );
  using engine = new Engine();
  const result = await engine.copy({ source, target, capacityBytes: sizeBytes });
  assert.ok(await sameBytes(from, to, sizeBytes));
  assert.ok(result.sourceExtentsUsed && result.zeroedBytes > 0);
});

test("a source that gives only whole blocks is read where the disk ends inside one", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeImage(from, exportBytes, new Random(4));
  await makeDirty(to, exportBytes, new Random(5));
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--filter=blocksize-policy", "file", from, ...blocks("error")],
  );
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=blocksize-policy", "file", to, ...blocks("error", 4 * KiB)],
  );
  using engine = new Engine();
  await engine.copy({ source, target, capacityBytes });
  assert.ok(await sameBytes(from, to, capacityBytes));
  const compared = await engine.compare({ source, target, capacityBytes });
  assert.deepEqual([compared.comparedBytes, compared.differingBytes], [capacityBytes, 0]);
});

test("a comparison gets along with a target that gives only whole blocks, and judges the disk alone", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, capacityBytes, new Random(6));
  await makeDirty(to, exportBytes, new Random(7));
  await using file = await open(to, "r+");
  await file.write(await readFile(from), 0, capacityBytes, 0);
  await using source = await startQemuNbd(dir.path, from);
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=blocksize-policy", "file", to, ...blocks("error")],
  );
  const compare = async (bytesPerSecond: number): Promise<CompareResult> => {
    using engine = new Engine({ maxBytesPerSecond: bytesPerSecond });
    return await engine.compare({ source, target, capacityBytes });
  };
  assert.equal((await compare(0)).differingBytes, 0);
  await file.write(Buffer.of(0), 0, 1, capacityBytes - 1);
  await file.write(Buffer.of(0), 0, 1, capacityBytes);
  const last = capacityBytes - (capacityBytes % 512);
  for (const limit of [0, maxBytesPerSecond])
    assert.deepEqual([...(await compare(limit)).differences], [last, capacityBytes - last]);
});
