// A target that is encrypted, refused before any program looks into the guest: by what its first sectors say.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { digestOfFile } from "../digest.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { startCli } from "../lab/run-cli.ts";
import { createVolume, startQemuNbd } from "../lab/targets.ts";
import { type TempDir, tempDir } from "../temp-dir.ts";

const mib = 2 ** 20;
const uuid = "6d6b0000-0000-4000-8000-00000000000a";
const secret = "not-to-be-seen-anywhere";
let folder: TempDir;
const servers: NbdServer[] = [];
const paths: Record<string, string> = {};

/** The tools are in sbin, which an ordinary user's PATH leaves out. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** A disk with one partition, and in it this. */
async function disk(name: string, content: Buffer): Promise<string> {
  const path = join(folder.path, name);
  await createVolume(path, 64 * mib);
  spawnSync("sfdisk", ["--quiet", path], { env, input: "label: gpt\nstart=2048\n" });
  await using file = await open(path, "r+");
  await file.write(content, 0, content.length, mib);
  const server = await startQemuNbd({ file: path });
  servers.push(server);
  paths[name] = path;
  return server.uri;
}

async function luksHeader(): Promise<Buffer> {
  const path = join(folder.path, "header");
  await createVolume(path, 32 * mib);
  const options = ["--batch-mode", "--uuid", uuid, "--key-file", "-"];
  const cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
  const { status } = spawnSync("cryptsetup", ["luksFormat", ...options, ...cheap, path], {
    env,
    input: secret,
  });
  assert.equal(status, 0);
  await using file = await open(path);
  const header = Buffer.alloc(mib);
  await file.read(header, 0, mib, 0);
  return header;
}

let luks: string;
let bitLocker: string;
before(async () => {
  folder = await tempDir();
  luks = await disk("luks", await luksHeader());
  bitLocker = await disk("bitlocker", Buffer.from("\xeb\x58\x90-FVE-FS-\0", "latin1"));
});
after(async () => {
  for (const server of servers) await server.stop();
  await folder[Symbol.asyncDispose]();
});

async function convert(uri: string, ...more: string[]) {
  const disks = Object.values(paths);
  const digests = () => Promise.all(disks.map(digestOfFile));
  const before = await digests();
  const { code, stderr } = await startCli({
    args: ["convert", "--disk", uri, "--state-dir", join(folder.path, "state"), ...more],
    env: { TMPDIR: folder.path },
  }).result;
  assert.deepEqual(await digests(), before, "the targets are as they were");
  assert.doesNotMatch(stderr, new RegExp(secret));
  return { code, stderr };
}

test("LUKS without a key is refused by its UUID and the flag", async () => {
  const { code, stderr } = await convert(luks);
  assert.equal(code, 9, stderr);
  assert.match(
    stderr,
    new RegExp(
      `\\[guest-encrypted\\]: disk-0, from 1\\.0 MiB on, is encrypted with LUKS \\(UUID ${uuid}\\), and --luks-key was not given for it`,
    ),
  );
  const key = join(folder.path, "other-key");
  await writeFile(key, secret);
  const other = await convert(luks, "--luks-key", `6d6b0000-0000-4000-8000-00000000000b=${key}`);
  assert.match(other.stderr, /\[guest-encrypted\]: disk-0/);
});

test("BitLocker is refused with what ends it in the guest", async () => {
  const { code, stderr } = await convert(bitLocker);
  assert.equal(code, 9, stderr);
  assert.match(stderr, /\[guest-unsupported\]: disk-0, .*encrypted with BitLocker/);
  assert.match(stderr, /manage-bde -off/);
});

test("a key file that cannot be one is refused by its name, before a target is looked at", async () => {
  const contents = {
    "is empty": "\n",
    "is not one line of text": `${secret}\nmore\n`,
    "is longer than 512 bytes": "x".repeat(513),
  };
  const missing = join(folder.path, "none");
  const { code, stderr } = await convert(luks, "--luks-key", missing);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /\[usage\]: --luks-key \S+none cannot be read: there is no such file/);
  for (const [problem, content] of Object.entries(contents)) {
    const file = join(folder.path, "key");
    await writeFile(file, content);
    const result = await convert(luks, "--luks-key", file);
    assert.equal(result.code, 2, result.stderr);
    assert.match(result.stderr, new RegExp(`--luks-key ${file} ${problem}`));
  }
});
