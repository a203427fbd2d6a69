import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Engine } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeSparse } from "./images.ts";
import { keepBusy, undisturbed } from "./machine.ts";
import { sameBytes, startNbdkit } from "./servers.ts";

const sizeBytes = 192 << 20;
const connections = 2;
const few = 4 * connections;

/** @returns how many writes the target had at once, at most, and in the mean of their beginnings. */
async function depthOfCopy(writeDelayMs: number): Promise<{ most: number; mean: number }> {
  await using dir = await tempDir();
  const [from, to, log] = [join(dir.path, "from"), join(dir.path, "to"), join(dir.path, "log")];
  await makeDirty(from, sizeBytes, new Random(4));
  await makeSparse(to, sizeBytes);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  const filters = ["--filter=log", "--filter=noextents", "--filter=delay"];
  const settings = [`logfile=${log}`, `wdelay=${writeDelayMs}ms`];
  await using target = await startNbdkit(dir.path, ...filters, "file", to, ...settings);
  using engine = new Engine();
  await engine.copy({
    source: { uri: source.uri, connections },
    target: { uri: target.uri, connections },
    capacityBytes: sizeBytes,
    sourceExtents: false,
  });
  assert.ok(await sameBytes(from, to, sizeBytes));
  const depths: number[] = [];
  let depth = 0;
  for (const line of (await readFile(log, "utf8")).split("\n")) {
    if (/ \.\.\.Write /.test(line)) depth--;
    else if (/ Write /.test(line)) depths.push(++depth);
  }
  assert.equal(depth, 0);
  assert.ok(depths.length > 100);
  return { most: Math.max(...depths), mean: depths.reduce((a, b) => a + b) / depths.length };
}

test("while the processors are busy, four writes of each loop are on their way at once", async () => {
  using _others = keepBusy();
  const { most } = await depthOfCopy(10);
  assert.ok(most <= few, `${most} at once`);
});

test("a distant target gets more writes at once where the processors are idle", async () => {
  const { mean } = await undisturbed(
    6,
    () => depthOfCopy(20),
    (found) => found.mean > few,
  );
  assert.ok(mean > few, `${mean} at once in the mean`);
});
