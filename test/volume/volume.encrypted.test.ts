// What is encrypted on a disk, as cryptsetup itself makes it, in partitions and in a logical volume of one disk.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { listEncryptedParts } from "../../src/volume/volume.ts";
import { tempDir } from "../temp-dir.ts";
import { makeFile, mib, readAt, writeAt } from "./images.ts";

const uuids = ["6D6B0000-0000-4000-8000-00000000000A", "6d6b0000-0000-4000-8000-00000000000b"];
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

function run(program: string, args: readonly string[], input: string) {
  const { status, stderr } = spawnSync(program, args, { env, input, encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

async function luks(path: string, type: "luks1" | "luks2", uuid: string): Promise<Buffer> {
  await makeFile(path, 20 * mib);
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  const args = ["luksFormat", "--batch-mode", "--type", type, "--uuid", uuid, "--key-file", "-"];
  run("cryptsetup", [...args, ...cheap, path], "secret");
  return readAt(path, 0, mib);
}

test("LUKS of both forms and BitLocker are found by their places, and nothing else is", async () => {
  await using folder = await tempDir();
  const heads = [
    await luks(join(folder.path, "one"), "luks1", uuids[0]!),
    await luks(join(folder.path, "two"), "luks2", uuids[1]!),
    Buffer.from("\xeb\x58\x90-FVE-FS-\0", "latin1"),
  ];
  for (const label of ["gpt", "dos"]) {
    const disk = await makeFile(join(folder.path, label), 128 * mib);
    const logical = label === "dos" ? "size=20M\ntype=5\nsize=30M\n" : "size=20M\nsize=30M\n";
    run("sfdisk", ["--quiet", disk], `label: ${label}\nsize=4M\n${logical}size=20M\n`);
    const read = (offset: number, length: number) => readAt(disk, offset, length);
    assert.deepEqual(await listEncryptedParts(read, 128 * mib), []);
    const { stdout } = spawnSync("sfdisk", ["--dump", disk], { env, encoding: "utf8" });
    const starts = [...stdout.matchAll(/start= *(\d+).*type=(?!5)/g)].map((match) =>
      Number(match[1]),
    );
    const places = starts.slice(1).map((start) => start * 512);
    for (const [index, head] of heads.entries()) await writeAt(disk, places[index]!, head);
    assert.deepEqual(await listEncryptedParts(read, 128 * mib), [
      { kind: "LUKS", offsetBytes: places[0], uuid: uuids[0]!.toLowerCase() },
      { kind: "LUKS", offsetBytes: places[1], uuid: uuids[1] },
      { kind: "BitLocker", offsetBytes: places[2] },
    ]);
  }
});

test("a disk that is encrypted as a whole is found, and one without a first sector is none", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "whole");
  await luks(path, "luks2", uuids[1]!);
  const read = (offset: number, length: number) => readAt(path, offset, length);
  assert.deepEqual(await listEncryptedParts(read, 20 * mib), [
    { kind: "LUKS", offsetBytes: 0, uuid: uuids[1] },
  ]);
  assert.deepEqual(await listEncryptedParts(read, 100), []);
});
