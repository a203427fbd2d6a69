import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  ext4,
  extVariants,
  keepCopy,
  makeFile,
  makeVolume,
  mib,
  mountRangesOf,
  mountReally,
  ntfs,
  physicalVolume,
  readAt,
  run,
  wholeDisk,
  writeAt,
  xfs,
} from "./images.ts";

let dir: string;
let counter = 0;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "volume-"));
});
after(() => rm(dir, { recursive: true }));

const folder = () => join(dir, String(counter++));

function covers(ranges: Float64Array, offset: number, length: number): boolean {
  return ranges.some(
    (start, at) => at % 2 === 0 && start <= offset && start + ranges[at + 1]! >= offset + length,
  );
}

for (const system of [ext4, ...extVariants.filter(({ name }) => name !== "ext2")]) {
  test(`the beginning of the journal of ${system.name} is listed as debugfs finds it`, async () => {
    const { path } = await makeVolume(folder(), system, wholeDisk);
    const ranges = await mountRangesOf(path);
    const superblock = await readAt(path, 1024, 1024);
    const blockBytes = 1024 << superblock.readUInt32LE(0x18);
    const blocks = (await run("debugfs", "-R", "blocks <8>", path)).trim().split(/\s+/).map(Number);
    const extents = (superblock.readUInt32LE(0x60) & 0x40) !== 0;
    const first = blocks.slice(0, extents ? (64 * 1024) / blockBytes : 12);
    assert.ok(first.length >= 12 && first[0]! * blockBytes > mib, "not in the first MiB anyway");
    for (const block of first)
      assert.ok(covers(ranges, block * blockBytes, blockBytes), `${block}`);
  });
}

async function xfsLog(path: string): Promise<{ offset: number; length: number }> {
  const fields = await run("xfs_db", "-r", "-c", "sb 0", "-c", "print logstart logblocks", path);
  const [start, blocks] = [...fields.matchAll(/= (\d+)/g)].map((match) => match[1]!);
  const at = await run("xfs_db", "-r", "-c", `convert fsblock ${start} byte`, path);
  return { offset: Number(/\((\d+)\)/.exec(at)![1]), length: Number(blocks) * 4096 };
}

/** Sectors of a round: the numbers with which XFS marks what it writes to its log. */
function stamped(round: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 512) bytes.writeUInt32BE(round, at);
  return bytes;
}

for (const head of [0, 512, 20 * 512, 5_000_192, "last sector"] as const) {
  test(`the place where XFS writes its log next is found at ${head} of a log in use`, async () => {
    const { path } = await makeVolume(folder(), xfs, wholeDisk);
    const log = await xfsLog(path);
    const at = head === "last sector" ? log.length - 512 : head;
    const content = Buffer.concat([stamped(7, at), stamped(6, log.length - at)]);
    // A record's header has its magic in front of the number.
    if (at > 4096) content.set(Buffer.from("feedbabe00000007", "hex"), 2048);
    await writeAt(path, log.offset, content);
    const ranges = await mountRangesOf(path);
    assert.ok(covers(ranges, log.offset + at, 512));
    if (head === "last sector") assert.ok(covers(ranges, log.offset, 64 * 1024), "and around");
  });
}

test("a second mount of an XFS in use is seen without its superblock", async (t) => {
  const volume = await makeVolume(folder(), xfs, wholeDisk);
  if (!(await mountReally(volume, { ...xfs, mountTouches: true }))) {
    t.diagnostic("not mounted by the kernel of this machine, or not by this user");
    const log = await xfsLog(volume.path);
    await writeAt(volume.path, log.offset, stamped(2, 3 * mib));
  }
  const ranges = await mountRangesOf(volume.path);
  const log = await xfsLog(volume.path);
  const listed = [...ranges].filter((value, at) => at % 2 === 0 && value >= log.offset);
  const [from] = listed;
  assert.ok(from !== undefined && from < log.offset + log.length);
  const old = await keepCopy(volume.path);
  const before = await readAt(old, from, 128 * 1024);
  if (await mountReally(volume, xfs)) {
    const now = await readAt(volume.path, from, 128 * 1024);
    assert.ok(!before.equals(now), "the log at its head is written by a mount alone");
  }
});

test("an MFT far from the beginning and the log that it names are listed", async () => {
  const { path } = await makeVolume(folder(), ntfs, wholeDisk);
  const boot = await readAt(path, 0, 512);
  const mft = Number(boot.readBigUInt64LE(0x30)) * 4096;
  const moved = 40 * mib;
  await writeAt(path, moved, await readAt(path, mft, 64 * 1024));
  await writeAt(path, mft, Buffer.alloc(64 * 1024));
  boot.writeBigUInt64LE(BigInt(moved / 4096), 0x30);
  await writeAt(path, 0, boot);
  const ranges = await mountRangesOf(path);
  assert.ok(covers(ranges, moved, 64 * 1024), "the MFT's beginning");
  assert.ok(covers(ranges, Number(boot.readBigUInt64LE(0x38)) * 4096, 4096), "its mirror");
  // $LogFile of mkntfs is full of 0xff; nothing else is.
  const log = await firstOf(path, Buffer.alloc(64 * 1024, 0xff));
  assert.ok(covers(ranges, log, 64 * 1024), `the log at ${log}`);
});

async function firstOf(path: string, wanted: Buffer): Promise<number> {
  const bytes = await readAt(path, 0, 64 * mib);
  const at = bytes.indexOf(wanted);
  assert.ok(at > 0);
  return at;
}

test("a logical volume in two pieces is followed from one to the other", async () => {
  const path = join(dir, String(counter++));
  await makeFile(path, 100 * mib);
  const system = await makeFile(`${path}.alone`, 16 * mib);
  await run("mkfs.ext4", "-q", "-F", "-b", "1024", system);
  const text = await run("debugfs", "-R", "blocks <8>", system);
  const journal = Number(text.trim().split(/\s+/)[0]) * 1024;
  assert.ok(journal > 4 * mib, "the journal lies behind the first piece");
  const content = await readAt(system, 0, 16 * mib);
  await writeAt(
    path,
    0,
    physicalVolume([
      { extent: 9, count: 1 },
      { extent: 4, count: 3 },
    ]),
  );
  await writeAt(path, mib + 36 * mib, content.subarray(0, 4 * mib));
  await writeAt(path, mib + 16 * mib, content.subarray(4 * mib));
  const ranges = await mountRangesOf(path);
  assert.ok(covers(ranges, 37 * mib, mib), "the first MiB of the logical volume");
  assert.ok(covers(ranges, 17 * mib + journal - 4 * mib, 60 * 1024), "its journal");
  assert.ok(covers(ranges, 4096, 1024), "the metadata");
});

async function partitionDisk(path: string, bytes: number, script: string): Promise<void> {
  await makeFile(path, bytes);
  await writeFile(`${path}.sfdisk`, script);
  await run("sh", "-c", `sfdisk -q --no-tell-kernel '${path}' < '${path}.sfdisk'`);
}

test("logical partitions of an extended one are listed with the primary ones", async () => {
  const path = join(dir, String(counter++));
  const lines = ["2048,20480,83", "40960,,5", "43008,8192,83", "53248,8192,83", "63488,,82"];
  await partitionDisk(path, 60 * mib, `label: dos\n${lines.join("\n")}\n`);
  const ranges = await mountRangesOf(path);
  for (const sector of [2048, 43_008, 53_248, 63_488]) {
    assert.ok(covers(ranges, sector * 512, mib), `the partition at sector ${sector}`);
  }
});

test("a GPT whose beginning is lost is read from the disk's end", async () => {
  const path = join(dir, String(counter++));
  await partitionDisk(path, 60 * mib, "label: gpt\n2048,20480\n40960,4096\n");
  await writeAt(path, 0, Buffer.alloc(17 * 1024));
  const ranges = await mountRangesOf(path);
  assert.ok(covers(ranges, mib, mib) && covers(ranges, 20 * mib, mib));
});

test("what lies inside LUKS is listed from its first MiB on", async () => {
  const first = await makeFile(join(dir, "luks1"), 60 * mib);
  const header1 = Buffer.alloc(512);
  header1.write("LUKS\xba\xbe\0\x01", "latin1");
  header1.writeUInt32BE(4096, 104);
  await writeAt(first, 0, header1);
  assert.ok(covers(await mountRangesOf(first), 2 * mib, mib));

  const second = await makeFile(join(dir, "luks2"), 60 * mib);
  const header2 = Buffer.alloc(16_384);
  header2.write("LUKS\xba\xbe\0\x02", "latin1");
  header2.writeBigUInt64BE(16_384n, 8);
  const segments = { 0: { type: "crypt", offset: "16777216", size: "dynamic" } };
  header2.write(JSON.stringify({ keyslots: {}, segments, digests: {} }), 4096);
  await writeAt(second, 0, header2);
  assert.ok(covers(await mountRangesOf(second), 16 * mib, mib));
});

test("a table with as many partitions as there can be costs no more than is allowed", async () => {
  const path = join(dir, String(counter++));
  const lines = Array.from({ length: 128 }, (_, at) => `${2048 + at * 8192},8192`);
  await partitionDisk(path, 600 * mib, `label: gpt\n${lines.join("\n")}\n`);
  const ranges = await mountRangesOf(path);
  const total = ranges.reduce((sum, value, at) => sum + (at % 2) * value, 0);
  assert.ok(total <= 32 * mib && ranges.length <= 2 * 256);
  for (let at = 0; at < 128; at++) {
    assert.ok(covers(ranges, (2048 + at * 8192) * 512, 128 * 1024), `superblocks of ${at}`);
  }
});

test("a disk of nothing, and one smaller than a MiB, are listed as far as they go", async () => {
  const empty = await makeFile(join(dir, String(counter++)), 8 * mib);
  assert.deepEqual([...(await mountRangesOf(empty))], [0, mib]);
  const tiny = await makeFile(join(dir, String(counter++)), 1536);
  assert.deepEqual([...(await mountRangesOf(tiny))], [0, 1536]);
});
