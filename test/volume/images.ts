// Volumes as machines have them, made by the file systems' own tools, and what a mount does to them.

import { execFile } from "node:child_process";
import { mkdir, open, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { listMountRanges } from "../../src/volume/volume.ts";

export const mib = 2 ** 20;

// The tools are in sbin, which an ordinary user's PATH leaves out.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

export async function run(command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(command, args, { env })).stdout;
}

/** An empty sparse file. */
export async function makeFile(path: string, bytes: number): Promise<string> {
  await writeFile(path, "");
  await truncate(path, bytes);
  return path;
}

export async function readAt(path: string, offset: number, length: number): Promise<Buffer> {
  await using file = await open(path);
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, offset);
  return bytes;
}

export async function writeAt(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(bytes, 0, bytes.length, offset);
}

export interface FileSystem {
  readonly name: string;
  readonly sizeBytes: number;
  /** Makes it in a file of its own. */
  make(path: string): Promise<unknown>;
  /** Exactly what the kernel's mount writes; offsets of the file system's own. */
  mountWrites(path: string): Promise<Write[]>;
  /** The FUSE driver writes nothing before something is written. */
  readonly mountTouches?: true;
}

export interface Write {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface Volume {
  readonly path: string;
  /** Of the file system within. */
  readonly offsetBytes: number;
  readonly mountWrites: readonly Write[];
}

function ext(name: string, ...options: string[]): FileSystem {
  return {
    name: [name, ...options].join(" "),
    sizeBytes: 64 * mib,
    make: (path) => run(`mkfs.${name}`, "-q", "-F", ...options, path),
    // fs/ext4/super.c, ext4_setup_super(): s_mtime and s_mnt_count, then the superblock is written.
    mountWrites: async () => [{ offset: 1024 + 0x2c, bytes: Buffer.from("c0ffee00", "hex") }],
  };
}

export const ext4 = ext("ext4");

export const xfs: FileSystem = {
  name: "XFS",
  sizeBytes: 320 * mib,
  make: (path) => run("mkfs.xfs", "-q", "-f", path),
  // fs/xfs/xfs_log_recover.c, xlog_clear_stale_blocks(): 2 MiB ahead of the head are stamped with
  // the round before. In a new log the head is behind the record of mkfs, two sectors.
  mountWrites: async (path) => {
    const start = await run("xfs_db", "-r", "-c", "sb 0", "-c", "print logstart", path);
    const block = /\d+/.exec(start)![0];
    const convert = await run("xfs_db", "-r", "-c", `convert fsblock ${block} byte`, path);
    const offset = Number(/\((\d+)\)/.exec(convert)![1]) + 2 * 512;
    return [{ offset, bytes: Buffer.alloc(2 * mib, "feedbabe00000000", "hex") }];
  },
};

export const ntfs: FileSystem = {
  name: "NTFS",
  mountTouches: true,
  sizeBytes: 64 * mib,
  make: (path) => run("mkntfs", "-F", "-Q", "-q", path),
  // fs/ntfs3/fsntfs.c, ntfs_set_state(), as Windows: the dirty flag (bit 0 of the flags in
  // $VOLUME_INFORMATION) in record 3 of the MFT; nothing else until a file is touched.
  mountWrites: async (path) => {
    const info = await run("ntfsinfo", "-m", "-f", path);
    const cluster = Number(/LCN of Data Attribute for FILE_MFT:\s*(\d+)/.exec(info)![1]);
    const record = cluster * 4096 + 3 * 1024;
    const bytes = await readAt(path, record, 1024);
    const attribute = bytes.indexOf(Buffer.from("7000000028000000", "hex"));
    const flags = attribute + bytes.readUInt16LE(attribute + 20) + 10;
    return [{ offset: record + flags, bytes: Buffer.of(bytes[flags]! | 1) }];
  },
};

export const btrfs: FileSystem = {
  name: "Btrfs",
  sizeBytes: 128 * mib,
  make: (path) => run("mkfs.btrfs", "-q", "-f", path),
  // fs/btrfs/disk-io.c, write_all_supers(): checksum and generation of every copy.
  mountWrites: async () =>
    [65_536, 64 * mib].flatMap((offset) => [
      { offset, bytes: Buffer.from("c0ffee00", "hex") },
      { offset: offset + 72, bytes: Buffer.from("0900000000000000", "hex") },
    ]),
};

export const extVariants: readonly FileSystem[] = [
  ext("ext2"),
  ext("ext3", "-b", "1024", "-N", "65536"),
  ext("ext4", "-O", "bigalloc"),
  ext("ext4", "-O", "^64bit,^flex_bg,^extent", "-N", "65536"),
  ext("ext4", "-b", "1024", "-O", "bigalloc"),
];

/** Where a file system lies in the volume. */
export interface Place {
  readonly name: string;
  readonly offsetBytes: number;
  /** What stands around it; the volume is there already. */
  prepare(volume: string, sizeBytes: number): Promise<void>;
}

const afterBytes = 2 * mib;

export function partitioned(label: "dos" | "gpt"): Place {
  return {
    name: `in the first partition (${label}) at 1 MiB`,
    offsetBytes: mib,
    prepare: async (volume, sizeBytes) => {
      const script = `label: ${label}\nstart=2048, size=${sizeBytes / 512}\n`;
      const path = `${volume}.sfdisk`;
      await writeFile(path, script);
      await run("sh", "-c", `sfdisk -q --no-tell-kernel '${volume}' < '${path}'`);
    },
  };
}

export const wholeDisk: Place = {
  name: "on the whole disk",
  offsetBytes: 0,
  prepare: async () => {},
};

const extentBytes = 4 * mib;
const logicalExtent = 3;

export const onLvm: Place = {
  name: "in a logical volume of a disk that is one physical volume",
  offsetBytes: mib + logicalExtent * extentBytes,
  prepare: async (volume, sizeBytes) => {
    const segment = { extent: logicalExtent, count: Math.ceil(sizeBytes / extentBytes) };
    await writeAt(volume, 0, physicalVolume([segment]));
  },
};

export const places: readonly Place[] = [wholeDisk, partitioned("dos"), partitioned("gpt"), onLvm];

/** A volume with one file system in its place. */
export async function makeVolume(dir: string, system: FileSystem, place: Place): Promise<Volume> {
  await mkdir(dir, { recursive: true });
  const alone = await makeFile(join(dir, "alone"), system.sizeBytes);
  await system.make(alone);
  const { offsetBytes } = place;
  const size = offsetBytes + Math.ceil(system.sizeBytes / extentBytes) * extentBytes;
  const path = await makeFile(join(dir, "volume"), size + afterBytes);
  await place.prepare(path, system.sizeBytes);
  await copyInto(path, offsetBytes, alone);
  const mountWrites = await system.mountWrites(alone);
  await rm(alone);
  return { path, offsetBytes, mountWrites };
}

export async function copyInto(volume: string, offset: number, part: string): Promise<void> {
  const to = ["bs=64K", `seek=${offset}`, "oflag=seek_bytes", "conv=notrunc,sparse"];
  await run("dd", "status=none", `if=${part}`, `of=${volume}`, ...to);
}

/** A second copy, to be compared with. */
export async function keepCopy(volume: string): Promise<string> {
  await run("cp", "--sparse=always", volume, `${volume}.before`);
  return `${volume}.before`;
}

export async function writeLikeMount(volume: Volume): Promise<void> {
  for (const { offset, bytes } of volume.mountWrites) {
    await writeAt(volume.path, volume.offsetBytes + offset, bytes);
  }
}

/** Mounts and unmounts by the kernel, read-write. False where this user or kernel cannot. */
export async function mountReally(volume: Volume, system: FileSystem): Promise<boolean> {
  const folder = `${volume.path}.mounted`;
  await mkdir(folder, { recursive: true });
  const options = `loop,offset=${volume.offsetBytes},sizelimit=${system.sizeBytes}`;
  const touch = system.mountTouches ? '&& touch "$3/file"' : "";
  const script = `mount -o "$1" "$2" "$3" ${touch} && umount "$3"`;
  const args = ["--mount", "sh", "-c", script, "sh", options, volume.path, folder];
  return await run("unshare", ...args).then(
    () => true,
    () => false,
  );
}

export async function mountRangesOf(path: string): Promise<Float64Array> {
  await using file = await open(path);
  const { size } = await file.stat();
  const read = async (offset: number, length: number) => {
    const bytes = Buffer.alloc(length);
    await file.read(bytes, 0, length, offset);
    return bytes;
  };
  return await listMountRanges(read, size);
}

/** Offsets of the sectors in which two volumes differ. */
export async function changedSectors(before: string, after: string): Promise<number[]> {
  await using old = await open(before);
  await using now = await open(after);
  const [oldChunk, nowChunk] = [Buffer.alloc(mib), Buffer.alloc(mib)];
  const sectors: number[] = [];
  for (let offset = 0; ; offset += mib) {
    const { bytesRead } = await now.read(nowChunk, 0, mib, offset);
    if (bytesRead === 0) return sectors;
    await old.read(oldChunk, 0, mib, offset);
    if (nowChunk.equals(oldChunk)) continue;
    for (let at = 0; at < bytesRead; at += 512) {
      const [a, b] = [oldChunk, nowChunk].map((chunk) => chunk.subarray(at, at + 512));
      if (!a!.equals(b!)) sectors.push(offset + at);
    }
  }
}

export interface Segment {
  readonly extent: number;
  readonly count: number;
}

const uuid = "abcdefghijklmnopqrstuvwxyzABCDEF";

/** The first 20 KiB of a physical volume with one logical volume, as lvm2 writes them. */
export function physicalVolume(segments: readonly Segment[]): Buffer {
  const text = metadataText(segments);
  const bytes = Buffer.alloc(20 * 1024);
  bytes.write("LABELONE", 512, "latin1");
  bytes.writeBigUInt64LE(1n, 520);
  bytes.writeUInt32LE(32, 532);
  bytes.write("LVM2 001", 536, "latin1");
  bytes.write(uuid, 544, "latin1");
  bytes.writeBigUInt64LE(BigInt(2 ** 30), 576);
  bytes.writeBigUInt64LE(BigInt(mib), 584); // the data area, up to the end; then a zero
  bytes.writeBigUInt64LE(4096n, 616); // the metadata area
  bytes.writeBigUInt64LE(BigInt(mib - 4096), 624);
  bytes.writeUInt32LE(checksum(bytes.subarray(532, 1024)), 528);
  bytes.write(" LVM2 x[5A%r0N*>", 4100, "latin1");
  bytes.writeUInt32LE(1, 4116);
  bytes.writeBigUInt64LE(4096n, 4120);
  bytes.writeBigUInt64LE(BigInt(mib - 4096), 4128);
  bytes.writeBigUInt64LE(512n, 4136);
  bytes.writeBigUInt64LE(BigInt(text.length), 4144);
  bytes.writeUInt32LE(checksum(Buffer.from(text, "latin1")), 4152);
  bytes.writeUInt32LE(checksum(bytes.subarray(4100, 4608)), 4096);
  bytes.write(text, 4608, "latin1");
  return bytes;
}

function metadataText(segments: readonly Segment[]): string {
  const dashed = uuid.replace(
    /^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/,
    "$1-$2-$3-$4-$5-$6-$7",
  );
  let start = 0;
  const segmentTexts = segments.map(({ extent, count }, at) => {
    const text = `segment${at + 1} {\nstart_extent = ${start}\nextent_count = ${count}\n\ntype = "striped"\nstripe_count = 1\t# linear\n\nstripes = [\n"pv0", ${extent}\n]\n}\n`;
    start += count;
    return text;
  });
  return `vg0 {
id = "${dashed}"
seqno = 3
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = ${extentBytes / 512}
max_lv = 0
max_pv = 0
metadata_copies = 0

physical_volumes {

pv0 {
id = "${dashed}"
device = "/dev/sda"

status = ["ALLOCATABLE"]
flags = []
dev_size = ${2 ** 30 / 512}
pe_start = 2048
pe_count = 255
}
}

logical_volumes {

root {
id = "${dashed.replace("abcdef", "ABCDEF")}"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = ${segments.length}

${segmentTexts.join("\n")}}
}

}
# Generated by a test

contents = "Text Format Volume Group"
version = 1

description = "A test's \\"volume\\""

creation_host = "lab"
creation_time = 1700000000

\0`;
}

/** LVM's CRC-32: another start than the usual one, and not inverted in the end. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xf597a6cf;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return crc >>> 0;
}
