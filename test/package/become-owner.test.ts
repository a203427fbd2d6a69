import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chownSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const folder = mkdtempSync(join(tmpdir(), "owner-"));
after(() => rmSync(folder, { recursive: true }));
const isRoot = process.geteuid?.() === 0;
const nobody = 65534;

/** What a process is after it was to become the owner of `directory`. */
function becoming(directory: string) {
  const source = `
    import { becomeOwnerOf } from ${JSON.stringify(join(import.meta.dirname, "../../src/become-owner.ts"))};
    const name = becomeOwnerOf(process.argv[1]);
    const ids = [process.getuid(), process.geteuid(), process.getgid(), process.getegid()];
    console.log(JSON.stringify({ name, ids, groups: process.getgroups(), home: process.env.HOME }));`;
  const args = ["--input-type=module-typescript", "-e", source, directory];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.notEqual(stdout, "", stderr);
  return JSON.parse(stdout) as { name?: string; ids: number[]; groups: number[]; home: string };
}

test("root becomes the account that the directory belongs to, with nothing of root left", () => {
  const directory = mkdtempSync(join(folder, "given-"));
  if (isRoot) chownSync(directory, nobody, nobody);
  const now = becoming(directory);
  if (isRoot) {
    assert.deepEqual(now.ids, [nobody, nobody, nobody, nobody]);
    assert.deepEqual(now.groups, [nobody]);
    assert.equal(now.name, "nobody");
    assert.notEqual(now.home, process.env.HOME);
  } else {
    assert.deepEqual(now.ids.slice(0, 2), [process.getuid?.(), process.geteuid?.()]);
  }
});

test("nothing changes for a directory of one's own, one that is missing, or a link", () => {
  const own = mkdtempSync(join(folder, "own-"));
  const given = mkdtempSync(join(folder, "given-"));
  if (isRoot) chownSync(given, nobody, nobody);
  const link = join(folder, "link");
  symlinkSync(given, link);
  for (const directory of [own, join(folder, "missing"), link]) {
    const now = becoming(directory);
    assert.equal(now.name, undefined);
    assert.equal(now.ids[1], process.geteuid?.());
  }
});
