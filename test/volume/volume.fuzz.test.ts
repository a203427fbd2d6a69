import assert from "node:assert/strict";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isNormal, totalBytes } from "../../src/ranges.ts";
import { listMountRanges } from "../../src/volume/volume.ts";
import { Random } from "../random.ts";
import { btrfs, ext4, makeVolume, mib, ntfs, onLvm, partitioned, xfs } from "./images.ts";

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "volume-"));
});
after(() => rm(dir, { recursive: true }));

const blockBytes = 64 * 1024;
const rounds = 300;
const interesting = [0, 1, 0x7f, 0x80, 0xfe, 0xff];

/** Bytes of a real volume, some of them changed: the same ones however often they are read. */
function damaged(file: Awaited<ReturnType<typeof open>>, seed: number, changes: number) {
  let readBytes = 0;
  const read = async (offset: number, length: number) => {
    readBytes += length;
    const bytes = Buffer.alloc(length);
    await file.read(bytes, 0, length, offset);
    const random = new Random(seed ^ (offset / blockBytes));
    // Most of what parsers read stands at the beginning of what they read.
    const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
    for (let change = 0; change < changes && used > 0; change++) {
      const at = random.below(random.chance(0.5) ? Math.min(used, 4096) : used);
      bytes[at] = random.chance(0.5) ? random.pick(interesting) : random.below(256);
    }
    return bytes;
  };
  return { read, readBytes: () => readBytes };
}

function assertBounded(ranges: Float64Array, capacityBytes: number): void {
  assert.ok(isNormal(ranges));
  assert.ok(ranges.length <= 512, `${ranges.length / 2} ranges`);
  assert.ok(totalBytes(ranges) <= 32 * mib + 512 * 512, `${totalBytes(ranges)} bytes`);
  const end = ranges.length === 0 ? 0 : ranges.at(-2)! + ranges.at(-1)!;
  assert.ok(end <= capacityBytes, `${end} is behind the disk's end`);
}

const volumes = [
  [ext4, partitioned("gpt")],
  [ext4, onLvm],
  [xfs, partitioned("dos")],
  [ntfs, partitioned("dos")],
  [btrfs, onLvm],
] as const;

for (const [system, place] of volumes) {
  test(`${rounds} damaged volumes with ${system.name} ${place.name} are read without an error`, async () => {
    const { path } = await makeVolume(
      join(dir, `${system.name}-${place.offsetBytes}`),
      system,
      place,
    );
    await using file = await open(path);
    const { size } = await file.stat();
    for (let seed = 1; seed <= rounds; seed++) {
      const { read, readBytes } = damaged(file, seed, 2 ** (seed % 12));
      const ranges = await listMountRanges(read, size).catch((error) => {
        throw new Error(`seed ${seed}`, { cause: error });
      });
      assertBounded(ranges, size);
      assert.ok(readBytes() <= 32 * mib, `seed ${seed} read ${readBytes()} bytes`);
    }
  });
}

test("disks of random bytes, of any size, are read without an error", async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const capacityBytes = random.below(4) * mib + random.below(2048) * 512;
    const read = async (offset: number, length: number) => new Random(seed + offset).bytes(length);
    assertBounded(await listMountRanges(read, capacityBytes), capacityBytes);
  }
});

test("a disk that answers every read with the same structure comes to an end", async () => {
  const capacityBytes = 2 ** 45;
  const block = Buffer.alloc(blockBytes);
  for (let entry = 446; entry < 510; entry += 16) {
    block[entry + 4] = 5;
    block.writeUInt32LE(128, entry + 8);
    block.writeUInt32LE(0xffffffff, entry + 12);
  }
  block.writeUInt16LE(0xaa55, 510);
  const extended = async (_: number, length: number) => block.subarray(0, length);
  assertBounded(await listMountRanges(extended, capacityBytes), capacityBytes);

  const lvm = Buffer.alloc(blockBytes, "vg { physical_volumes { ");
  lvm.write("LABELONE", 512);
  lvm.writeUInt32LE(32, 532);
  lvm.write("LVM2 001", 536);
  const circular = async (_: number, length: number) => lvm.subarray(0, length);
  assertBounded(await listMountRanges(circular, capacityBytes), capacityBytes);
});

test("an error of the reader is not taken for a volume that is not understood", async () => {
  const lost = new Error("connection lost");
  let reads = 0;
  const read = async (_: number, length: number) => {
    if (++reads > 1) throw lost;
    return Buffer.alloc(length);
  };
  await assert.rejects(listMountRanges(read, 8 * mib), lost);
});
