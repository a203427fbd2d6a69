import assert from "node:assert/strict";
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
