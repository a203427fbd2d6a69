import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { findAccelerator, runsInstructions } from "../../../src/guest/boot/accelerator.ts";
import { tempDir } from "../../temp-dir.ts";

const signal = new AbortController().signal;
const optionsIn = (folder: string, qemu = "qemu-system-x86_64") => {
  return { folder, qemu, signal, env: { PATH: process.env.PATH ?? "" } };
};

test("a processor that runs proves itself by the exit code of its instructions", async () => {
  await using folder = await tempDir();
  assert.equal(await runsInstructions("tcg", "max", optionsIn(folder.path)), true);
});

test("a processor that crawls, as KVM without hardware does, is none to start guests on", async () => {
  await using folder = await tempDir();
  const slow = join(folder.path, "slow");
  const words = "-singlestep -d exec,nochain -D /dev/null"; // each instruction for itself, and told
  await writeFile(slow, `#!/bin/sh\nexec qemu-system-x86_64 "$@" ${words}\n`);
  await chmod(slow, 0o755);
  assert.equal(await runsInstructions("tcg", "max", optionsIn(folder.path, slow)), false);
});

test("without a proof, KVM is not used, whatever devices are there", async () => {
  await using folder = await tempDir();
  assert.equal(await findAccelerator(optionsIn(folder.path, "/bin/true")), "tcg");
  assert.equal(await findAccelerator(optionsIn(folder.path, "/bin/false")), "tcg");
});

test("a QEMU that is not there is an error, not slow", async () => {
  await using folder = await tempDir();
  await assert.rejects(findAccelerator(optionsIn(folder.path, "/nowhere/qemu")), {
    code: "ENOENT",
  });
});
