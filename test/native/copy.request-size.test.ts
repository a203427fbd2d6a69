import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Engine } from "../../src/nbd/copy-engine.ts";
import { makeDirty, makeSparse, Random } from "./images.ts";
import { undisturbed } from "./machine.ts";
import { loggedReads, sameBytes, startNbdkit, tempDir } from "./servers.ts";

const sizeBytes = 192 << 20;
const nearBytes = 512 << 10;
const usualBytes = 1 << 20;

/** @returns how many of the second half's reads had this size, 0 to 1. The source is nearby. */
async function shareOfReads(bytes: number, ...targetSettings: string[]): Promise<number> {
  await using dir = await tempDir();
  const [from, to, log] = [join(dir.path, "from"), join(dir.path, "to"), join(dir.path, "log")];
  await makeDirty(from, sizeBytes, new Random(5));
  await makeSparse(to, sizeBytes);
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--filter=log", "file", from, `logfile=${log}`],
  );
  const filters = ["--filter=noextents", "--filter=delay"];
  await using target = await startNbdkit(dir.path, ...filters, "file", to, ...targetSettings);
  using engine = new Engine();
  await engine.copy({ source, target, capacityBytes: sizeBytes, sourceExtents: false });
  assert.ok(await sameBytes(from, to, sizeBytes));
  const reads = await loggedReads(log);
  const late = reads.slice(reads.length / 2);
  assert.ok(late.length >= 32, `${late.length} reads`);
  return late.filter((read) => read.bytes === bytes).length / late.length;
}

async function mostly(shareOnce: () => Promise<number>): Promise<void> {
  const share = await undisturbed(5, shareOnce, (found) => found >= 0.8);
  assert.ok(share >= 0.8, `${share} of the reads`);
}

test("between quick sides half a MiB goes in a request", () =>
  mostly(() => shareOfReads(nearBytes)));

test("to a target that takes its time a MiB goes in a request, however near the source is", () =>
  mostly(() => shareOfReads(usualBytes, "wdelay=30ms")));
