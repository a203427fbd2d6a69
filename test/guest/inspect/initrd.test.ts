import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { filesOfInitrd } from "../../../src/guest/inspect/initrd.ts";
import { tempDir } from "../../temp-dir.ts";

/** An archive as cpio itself makes it, large enough for matches that overlap and for several blocks. */
async function archive(t: TestContext, names: readonly string[]): Promise<Buffer> {
  const folder = await tempDir();
  t.after(() => folder[Symbol.asyncDispose]());
  for (const [index, name] of names.entries()) {
    await mkdir(join(folder.path, name, ".."), { recursive: true });
    const noise = Array.from(
      { length: 40_000 },
      (_, at) => `${(at * 7_919 * (index + 1)) % 10_007} `,
    );
    await writeFile(join(folder.path, name), `${"a".repeat(70_000)}${noise.join("")}`);
  }
  return run("cpio", ["-o", "-H", "newc", "--quiet"], `${names.join("\n")}\n`, folder.path);
}

function run(program: string, args: readonly string[], input: string | Buffer, cwd = "/"): Buffer {
  const { status, stdout } = spawnSync(program, args, { input, cwd, maxBuffer: 1 << 30 });
  assert.equal(status, 0, program);
  return stdout;
}

const names = ["usr/lib/modules/6.1/virtio_blk.ko", "usr/lib/modules/6.1/virtio_pci.ko", "init"];
const packers: Record<string, readonly [string, ...string[]]> = {
  "not at all": ["cat"],
  gzip: ["gzip", "-9"],
  zstd: ["zstd", "-q", "-c"],
  xz: ["xz", "--check=crc32", "-c"],
  lzma: ["xz", "--format=lzma", "-c"],
  "lz4 as the kernel wants it": ["lz4", "-l", "-c"],
  "lz4 in today's frame": ["lz4", "-c"],
  "lz4 with blocks that depend on each other": ["lz4", "-BD", "-B4", "-BX", "-c"],
  bzip2: ["bzip2", "-c"],
};

for (const [name, [program, ...args]] of Object.entries(packers)) {
  test(`an initrd packed with ${name} is read, its microcode before it`, async (t) => {
    const early = await archive(t, ["kernel/x86/microcode/GenuineIntel.bin"]);
    const packed = run(program, args, await archive(t, names));
    const image = Buffer.concat([
      early,
      Buffer.alloc(512),
      packed,
      Buffer.alloc(program === "cat" ? 512 : 0),
    ]);
    const files = await filesOfInitrd(image);
    assert.ok(files.every(({ bytes }) => bytes > 200_000));
    assert.deepEqual(
      files.map((file) => file.name),
      ["kernel/x86/microcode/GenuineIntel.bin", ...names],
    );
  });
}

test("an initrd of no known form is said to be so", async () => {
  await assert.rejects(filesOfInitrd(Buffer.from("nothing")), /not known here.*6e6f7468696e/);
  const noArchive = run("gzip", ["-c"], "no archive");
  await assert.rejects(filesOfInitrd(noArchive), /no cpio archive/);
  await assert.rejects(filesOfInitrd(Buffer.from("02214c1800", "hex")), /no cpio archive/);
});
