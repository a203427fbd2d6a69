// The demonstration's guest changes real file systems; what it does must be what a disk would see.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import {
  type BlockWrite,
  isFileSystemClean,
  makeFileSystem,
  planChanges,
  readInside,
} from "../lab/demo-disks.ts";

const run = promisify(execFile);
const capacityBytes = 48 * 1_048_576 + 1536;
let folder = "";
let image = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "lab-demo-"));
  const source = join(folder, "srv");
  await mkdir(join(source, "deep"), { recursive: true });
  await writeFile(join(source, "doomed.bin"), Buffer.alloc(3 * 1_048_576, "old"));
  await writeFile(join(source, "deep/kept.txt"), "kept\n");
  const spec = { label: "test", capacityBytes, sources: [source], filesBytes: 8 * 1_048_576 };
  image = await makeFileSystem(spec, folder);
});

after(() => rm(folder, { recursive: true, force: true }));

async function apply(path: string, writes: BlockWrite[]): Promise<void> {
  await using file = await open(path, "r+");
  for (const { offset, data } of writes)
    await file.write(Buffer.isBuffer(data) ? data : Buffer.alloc(data.zeroLength), 0, null, offset);
}

test("the image has the asked size, a clean file system and the files", async () => {
  assert.equal((await stat(image)).size, capacityBytes);
  assert.equal(await isFileSystemClean(image), true);
  assert.equal(await readInside(image, "/srv/deep/kept.txt"), "kept\n");
});

test("the planned writes turn the old file system into the changed one, freed blocks into zero", async () => {
  const before = await readFile(image);
  const [, blocks = ""] = /^([\d ]+)/.exec(
    (await run("debugfs", ["-R", "blocks /srv/doomed.bin", image], { env: withSbin() })).stdout,
  )!;
  const note = join(folder, "note.txt");
  await writeFile(note, "new\n");
  const writes = await planChanges(
    image,
    { deletes: ["/srv/doomed.bin"], writes: [[note, "/note.txt"]] },
    folder,
  );
  assert.ok(before.equals(await readFile(image)), "planning leaves the image as it was");
  assert.ok(writes.some(({ data }) => !Buffer.isBuffer(data) && data.zeroLength > 1_000_000));
  await apply(image, writes);
  assert.equal(await isFileSystemClean(image), true);
  assert.equal(await readInside(image, "/note.txt"), "new\n");
  assert.equal(await readInside(image, "/srv/deep/kept.txt"), "kept\n");
  const last = Number(blocks.trim().split(" ").at(-1)) * 4096;
  const changed = await readFile(image);
  assert.ok(!before.subarray(last, last + 4096).equals(Buffer.alloc(4096)));
  assert.ok(changed.subarray(last, last + 4096).equals(Buffer.alloc(4096)));
});

test("a change that the file system refuses is an error, not silence", async () => {
  const note = join(folder, "note.txt");
  const changes = { deletes: [], writes: [[note, "/srv/deep/kept.txt"] as [string, string]] };
  await assert.rejects(planChanges(image, changes, folder), /debugfs: .*exists/);
});

function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
}
