import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Engine } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty, makeSparse } from "./images.ts";
import { undisturbed } from "./machine.ts";
import { loggedReads, sameBytes, startNbdkit } from "./servers.ts";

const sizeBytes = 192 << 20;
const nearBytes = 512 << 10;
const usualBytes = 1 << 20;
const farBytes = 2 << 20;

interface Sides {
  /** Filters of the source's nbdkit, each with its settings in {@link settings}. */
  filters?: string[];
  settings?: string[];
  targetSettings?: string[];
  memoryBytes?: number;
  /** They are equal, and compared instead of copied. */
  equal?: boolean;
}

/** @returns how many of the second half's reads had this size, 0 to 1. */
async function shareOfReads(bytes: number, sides: Sides): Promise<number> {
  const { filters = [], settings = [], targetSettings = [], memoryBytes, equal } = sides;
  await using dir = await tempDir();
  const [from, to, log] = [join(dir.path, "from"), join(dir.path, "to"), join(dir.path, "log")];
  await makeDirty(from, sizeBytes, new Random(5));
  if (equal) await copyFile(from, to);
  else await makeSparse(to, sizeBytes);
  await using source = await startNbdkit(
    dir.path,
    ...["-r", "--filter=log", ...filters.map((filter) => `--filter=${filter}`)],
    ...["file", from, `logfile=${log}`, ...settings],
  );
  await using target = await startNbdkit(
    dir.path,
    ...["--filter=noextents", "--filter=delay", "file", to, ...targetSettings],
  );
  using engine = new Engine({ memoryBytes });
  const disks = { source, target, capacityBytes: sizeBytes, sourceExtents: false };
  if (equal) await engine.compare(disks);
  else await engine.copy(disks);
  assert.ok(await sameBytes(from, to, sizeBytes));
  const reads = await loggedReads(log);
  const late = reads.slice(reads.length / 2);
  assert.ok(late.length >= 32, `${late.length} reads`);
  return late.filter((read) => read.bytes === bytes).length / late.length;
}

async function mostly(bytes: number, sides: Sides): Promise<void> {
  const shareOnce = () => shareOfReads(bytes, sides);
  const share = await undisturbed(5, shareOnce, (found) => found >= 0.8);
  assert.ok(share >= 0.8, `${share} of the reads`);
}

/** A single source connection, so far away. */
const oneFrom = (latencyMs: number): Sides => ({
  filters: ["limit", "delay"],
  settings: ["limit=1", `rdelay=${latencyMs}ms`],
});

test("between quick sides half a MiB goes in a request", () => mostly(nearBytes, {}));

test("to a target that takes its time a MiB goes in a request, however near the source is", () =>
  mostly(usualBytes, { targetSettings: ["wdelay=30ms"] }));

test("over a distance where that carries enough a MiB goes in a request", () =>
  mostly(usualBytes, oneFrom(4)));

test("further away two MiB go in a request", () => mostly(farBytes, oneFrom(10)));

test("where there is no memory for more at once a MiB goes in a request, however far the source is", () =>
  mostly(usualBytes, { ...oneFrom(10), memoryBytes: 16 << 20 }));

test("over a narrow line a MiB goes in a request", () => mostly(usualBytes, oneFrom(60)));

test("a comparison, which holds everything twice, reads a MiB at a time", () =>
  mostly(usualBytes, { ...oneFrom(10), equal: true }));
