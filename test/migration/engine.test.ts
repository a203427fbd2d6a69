// A timetable's change while a copy runs, by a clock of the test's own.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { openEngine } from "../../src/migration/engine.ts";
import { ratePlan } from "../../src/option-types.ts";
import { makeDirty } from "../native/images.ts";
import { sameBytes, startNbdkit } from "../native/servers.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";

const MiB = 1 << 20;
const capacityBytes = 96 * MiB;
const settings = { memory: 32 << 20, stallTimeout: 60_000, flushTimeout: 600_000 };
const day = 10 * 60;
const night = 20 * 60;

/** Copies all of it; `onBytes` is told how much is done. Gives whether the target is equal. */
async function copy(
  plan: string,
  minuteNow: () => number,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<boolean> {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, capacityBytes, new Random(1));
  await makeDirty(to, capacityBytes, new Random(2));
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdkit(dir.path, "file", to);
  const clock = { minuteNow, lookMs: 10 };
  using engine = openEngine({ ...settings, maxRate: ratePlan(plan) }, undefined, undefined, clock);
  let done = 0;
  await engine.copy({
    source,
    target,
    capacityBytes,
    signal,
    onChunks: (chunks) => {
      for (let at = 1; at < chunks.length; at += 3) done += chunks[at]!;
      onBytes(done);
    },
  });
  return await sameBytes(from, to, capacityBytes);
}

test("where a limit ends, a copy under way goes on without it", async () => {
  let minute = day;
  const equal = await copy(
    "08:00,1M 19:00,off",
    () => minute,
    (bytes) => {
      if (bytes < MiB) return;
      if (minute === day) startedMs = performance.now();
      minute = night;
    },
  );
  assert.ok(equal);
  // At 1 MiB/s the rest would take at least this.
  const limitedSeconds = (capacityBytes - 2 * MiB) / MiB;
  const seconds = (performance.now() - startedMs) / 1000;
  assert.ok(seconds < limitedSeconds * 0.8, `${seconds} s`);
});
let startedMs = 0;

test("where a limit begins, a copy under way keeps to it", async () => {
  let minute = day;
  const limit = 2 * MiB;
  const seen: { atMs: number; bytes: number }[] = [];
  const enough = new AbortController();
  // Slow enough not to be over before the change.
  const begun = copy(
    "08:00,16M 19:00,2M",
    () => minute,
    (bytes) => {
      if (bytes >= 4 * MiB) minute = night;
      if (minute === night) seen.push({ atMs: performance.now(), bytes });
      if (seen.length > 0 && performance.now() - seen[0]!.atMs > 3000)
        enough.abort(new Error("enough"));
    },
    enough.signal,
  );
  await assert.rejects(begun, /enough/);
  const [first, last] = [seen[0]!, seen.at(-1)!];
  const rate = (last.bytes - first.bytes) / ((last.atMs - first.atMs) / 1000);
  // What had its moment by the old rate, when the change came, is in it: at most 100 ms of it.
  assert.ok(rate < 1.2 * limit + 16 * MiB * 0.1, `${rate / MiB} MiB/s`);
  assert.ok(last.bytes < capacityBytes / 2);
});
