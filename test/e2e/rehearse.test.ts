// A rehearsal of what holds no guest, and of what must not be rehearsed; a guest's whole way: guest.test.ts.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { after, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { startLab } from "../lab/start-lab.ts";
import { tempDir } from "../temp-dir.ts";

const lab = await startLab();
const temporary = await tempDir();
after(async () => {
  await lab.stop();
  await temporary[Symbol.asyncDispose]();
});
const vm = lab.vm("MyVM");

function rehearse(path: string, ...more: string[]) {
  const args = ["rehearse", "--vmware-path", path, "--state-dir", lab.stateDir, "--json", ...more];
  return startCli({ args, env: { TMPDIR: temporary.path } }).result;
}

test("a VM that was never synced to its end is refused before anything is made", async () => {
  const unknown = await rehearse(vm.path);
  assert.equal(unknown.code, 2, unknown.stderr);
  assert.match(JSON.parse(unknown.stdout).error.message, /knows of no run/);
});

test("a volume without a guest is told as such; it is as it was, nothing is left, and syncs go on", async () => {
  assert.equal((await lab.migrate(vm)).code, 0);
  const { targetFile } = lab.targets.disksOf(vm)[0]!;
  const digest = () => createHash("sha256").update(readFileSync(targetFile)).digest("hex");
  const before = digest();
  const { code, stdout, stderr } = await rehearse(vm.path, "--boot");
  assert.equal(code, 9, stderr);
  const { status, exit_code, error } = JSON.parse(stdout);
  assert.deepEqual([status, exit_code], ["failed", 9]);
  assert.match(error.message, /virt-v2v/);
  assert.equal(digest(), before);
  assert.deepEqual(readdirSync(temporary.path), []);
  const next = await lab.migrate(vm, { extra: ["--json"] });
  assert.equal(next.code, 0, next.stderr);
  assert.equal(JSON.parse(next.stdout).disks[0].sync_type, "incremental");
});
