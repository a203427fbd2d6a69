// Disks with real file systems for the demonstration, and a guest that really changes files on them.

import { execFile } from "node:child_process";
import { constants, createReadStream } from "node:fs";
import { copyFile, mkdir, open, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import type { LabVm } from "./vcenter/lab-vm.ts";

const blockBytes = 4096;
const chunkBytes = 1_048_576;
// The tools of e2fsprogs are in sbin, which an ordinary user's PATH leaves out.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

function runFully(command: string, args: string[]) {
  return promisify(execFile)(command, args, { env, maxBuffer: 64 * 1_048_576 });
}

async function run(command: string, args: string[]): Promise<string> {
  return (await runFully(command, args)).stdout;
}

export interface FileSystemSpec {
  label: string;
  capacityBytes: number;
  /** Folders to take files from, until there are enough. */
  sources: string[];
  filesBytes: number;
}

/** Regular files below a folder, each folder's own before those of its subfolders. */
async function* filesBelow(folder: string): AsyncGenerator<{ path: string; bytes: number }> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(folder, entry.name);
    const { size } = await stat(path);
    yield { path, bytes: size };
  }
  for (const entry of entries) if (entry.isDirectory()) yield* filesBelow(join(folder, entry.name));
}

async function stageFiles(spec: FileSystemSpec, staging: string): Promise<void> {
  let left = spec.filesBytes;
  for (const source of spec.sources) {
    for await (const { path, bytes } of filesBelow(source)) {
      if (bytes > left) continue;
      const target = join(staging, basename(source), path.slice(source.length));
      await mkdir(join(target, ".."), { recursive: true });
      await copyFile(path, target, constants.COPYFILE_FICLONE).catch(() => {}); // not readable by us
      left -= bytes;
      if (left < chunkBytes) return;
    }
  }
}

/** An ext4 image with real files; returns its path. */
export async function makeFileSystem(spec: FileSystemSpec, folder: string): Promise<string> {
  const staging = join(folder, `${spec.label}.files`);
  const image = join(folder, `${spec.label}.img`);
  await mkdir(staging, { recursive: true });
  await stageFiles(spec, staging);
  await writeFile(image, "");
  await truncate(image, spec.capacityBytes);
  const blocks = String(Math.floor(spec.capacityBytes / blockBytes));
  const format = ["-q", "-F", "-t", "ext4", "-b", String(blockBytes), "-L", spec.label];
  await run("mke2fs", [...format, "-d", staging, image, blocks]);
  await rm(staging, { recursive: true });
  return image;
}

export interface FileChanges {
  /** Files of this machine written into the guest: [from, path in the guest]. */
  writes: [string, string][];
  /** Paths in the guest that are deleted first, their blocks discarded as fstrim does. */
  deletes: string[];
}

export interface BlockWrite {
  offset: number;
  data: Buffer | { zeroLength: number };
}

/** Byte ranges of a file of the image. */
async function extentsOf(image: string, path: string): Promise<[number, number][]> {
  const text = await run("debugfs", ["-R", `blocks ${path}`, image]);
  const ranges: [number, number][] = [];
  for (const block of text.trim().split(/\s+/).map(Number)) {
    const last = ranges.at(-1);
    if (!Number.isInteger(block) || block === 0) continue;
    if (last && last[0] + last[1] === block * blockBytes) last[1] += blockBytes;
    else ranges.push([block * blockBytes, blockBytes]);
  }
  return ranges;
}

/** Blocks in which two images of the same size differ, joined to writes of at most a MiB. */
async function differences(before: string, after: string): Promise<BlockWrite[]> {
  await using old = await open(before);
  const oldChunk = Buffer.alloc(chunkBytes);
  const writes: BlockWrite[] = [];
  let offset = 0;
  for await (const chunk of createReadStream(after, { highWaterMark: chunkBytes })) {
    const data = chunk as Buffer;
    const { bytesRead } = await old.read(oldChunk, 0, data.length, offset);
    if (bytesRead !== data.length) throw new Error(`${before} is shorter than ${after}`);
    if (!data.equals(oldChunk.subarray(0, data.length)))
      for (const [from, to] of differingBlocks(data, oldChunk))
        writes.push({ offset: offset + from, data: asWritten(data.subarray(from, to)) });
    offset += data.length;
  }
  return writes;
}

/** Blocks that became zero were discarded. */
function asWritten(data: Buffer): Buffer | { zeroLength: number } {
  return data.equals(Buffer.alloc(data.length)) ? { zeroLength: data.length } : data;
}

function differingBlocks(data: Buffer, old: Buffer): [number, number][] {
  const ranges: [number, number][] = [];
  for (let from = 0; from < data.length; from += blockBytes) {
    const to = Math.min(from + blockBytes, data.length);
    if (data.subarray(from, to).equals(old.subarray(from, to))) continue;
    const last = ranges.at(-1);
    if (last && last[1] === from) last[1] = to;
    else ranges.push([from, to]);
  }
  return ranges;
}

/** What the guest's disk sees when its file system changes these files. The image itself stays. */
export async function planChanges(
  image: string,
  changes: FileChanges,
  folder: string,
): Promise<BlockWrite[]> {
  const changed = join(folder, `${basename(image)}.changed`);
  await run("cp", ["--sparse=always", "--reflink=auto", image, changed]);
  const freed: [number, number][] = [];
  for (const path of changes.deletes) freed.push(...(await extentsOf(image, path)));
  await editFileSystem(
    changed,
    changes.deletes.map((path) => `rm ${path}`),
    folder,
  );
  // Before anything new is written, which may lie where a deleted file lay.
  for (const [offset, length] of freed)
    await run("fallocate", ["-p", "-o", String(offset), "-l", String(length), changed]);
  await editFileSystem(
    changed,
    changes.writes.map(([from, to]) => `write ${from} ${to}`),
    folder,
  );
  const writes = await differences(image, changed);
  await rm(changed);
  return writes;
}

async function editFileSystem(image: string, commands: string[], folder: string): Promise<void> {
  const script = join(folder, `${basename(image)}.debugfs`);
  await writeFile(script, `${commands.join("\n")}\n`);
  // It ends with 0 whatever happened; besides its version only complaints go to stderr.
  const { stderr } = await runFully("debugfs", ["-w", "-f", script, image]);
  const complaints = stderr.split("\n").filter((line) => line && !/^debugfs \d/.test(line));
  if (complaints.length > 0) throw new Error(`debugfs: ${complaints.join("; ")}`);
}

export async function applyChanges(vm: LabVm, key: number, writes: BlockWrite[]): Promise<void> {
  for (const { offset, data } of writes) await vm.write(key, offset, data);
}

/** e2fsck's verdict on a file system that nobody has mounted; true when it finds nothing wrong. */
export async function isFileSystemClean(image: string): Promise<boolean> {
  return run("e2fsck", ["-fn", image]).then(
    () => true,
    () => false,
  );
}

/** Content of a file inside an image. */
export async function readInside(image: string, path: string): Promise<string> {
  return run("debugfs", ["-R", `cat ${path}`, image]);
}
