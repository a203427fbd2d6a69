/** How many connections a long copy opens, and what for: the engine's own decisions, played in a second. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type TempDir, tempDir } from "../temp-dir.ts";

const run = promisify(execFile);
const native = fileURLToPath(new URL("../../native/", import.meta.url));
const driver = fileURLToPath(new URL("tools/ten-hours.cc", import.meta.url));

interface Source {
  /** Connections at first. */
  start: number;
  /** So many carry 100 MB/s each, further ones nothing. */
  useful: number;
  granted?: number;
  openMs?: number;
  limitMBs?: number;
}

interface Outcome {
  /** Without the first one. */
  opens: number;
  /** Moments at which connections were asked for. */
  asks: number;
  /** At the end. */
  connections: number;
  megabytesInFirstMinute: number;
  megabytesPerSecond: number;
}

let dir: TempDir;
before(async () => {
  dir = await tempDir();
  const sources = ["climb.cc", "side_health.cc", "machine_idle.cc"].map((name) => native + name);
  const out = join(dir.path, "ten-hours");
  await run("g++", ["-std=c++20", "-O2", `-I${native}`, driver, ...sources, "-o", out]);
});
after(() => dir[Symbol.asyncDispose]());

async function tenHours(source: Source): Promise<Outcome> {
  const { start, useful, granted = 64, openMs = 100, limitMBs = 0 } = source;
  const args = [start, useful, granted, openMs, limitMBs].map(String);
  return JSON.parse((await run(join(dir.path, "ten-hours"), args)).stdout);
}

test("where more connections carry no more, at most thirty are opened for nothing in ten hours", async () => {
  for (const start of [2, 4]) {
    const { opens, connections } = await tenHours({ start, useful: start });
    assert.ok(opens - (connections - 1) <= 30, `${opens} opens`);
    assert.ok(opens - (connections - 1) >= 8, "it is looked at again");
  }
});

test("a source that grants no more is asked at most ten times in ten hours", async () => {
  for (const openMs of [100, 4000]) {
    const { asks, connections } = await tenHours({ start: 4, useful: 8, granted: 2, openMs });
    assert.equal(connections, 2);
    assert.ok(asks <= 10, `${asks} times`);
  }
});

test("connections that take four seconds to open are awaited, and kept where they carry more", async () => {
  const { connections, megabytesPerSecond } = await tenHours({
    ...{ start: 2, useful: 4, openMs: 4000 },
  });
  assert.ok(connections >= 4, `${connections} connections`);
  assert.ok(megabytesPerSecond >= 0.95 * 400, `${megabytesPerSecond} MB/s`);
});

test("below a rate limit more connections are tried, at the limit none", async () => {
  const below = await tenHours({ start: 1, useful: 2, limitMBs: 180 });
  assert.equal(below.connections, 2);
  assert.ok(below.megabytesPerSecond >= 0.9 * 180, `${below.megabytesPerSecond} MB/s`);
  const at = await tenHours({ start: 2, useful: 8, limitMBs: 100 });
  assert.deepEqual([at.connections, at.opens], [2, 1]);
});
