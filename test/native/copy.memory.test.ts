/** What a copy holds of what all copies of an engine share, and that it gives it back when it ends. */
import assert from "node:assert/strict";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Engine } from "../../src/nbd/copy-engine/copy-engine.ts";
import { tempDir } from "../temp-dir.ts";
import { undisturbed } from "./machine.ts";
import { startNbdkit } from "./servers.ts";

const MiB = 1 << 20;

/** How many reads were under way at once, at most, by what nbdkit's log filter wrote. */
function mostAtOnce(log: string): number {
  let depth = 0;
  let most = 0;
  for (const [, answer] of log.matchAll(/ (\.*)Read id=/g)) {
    depth += answer === "" ? 1 : -1;
    most = Math.max(most, depth);
  }
  return most;
}

/** @returns how many bytes of a disk two hundred milliseconds away were on their way at once, at most. */
async function mostOnTheWay(memoryBytes: number): Promise<number> {
  await using dir = await tempDir();
  const log = join(dir.path, "log");
  const size = 1536 * MiB;
  const args = ["--threads=256", "-r", "--filter=log", "--filter=delay", "pattern", `size=${size}`];
  await using source = await startNbdkit(dir.path, ...args, `logfile=${log}`, "rdelay=200ms");
  await using target = await startNbdkit(dir.path, "null", `size=${size}`);
  using engine = new Engine({ memoryBytes });
  const one = { uri: source.uri, connections: 1 };
  await engine.copy({ source: one, target, capacityBytes: size, requestBytes: MiB });
  return mostAtOnce(await readFile(log, "utf8")) * MiB;
}

test("over a long line more and more is on its way, as far as the memory goes", async () => {
  const plenty = await undisturbed(
    3,
    () => mostOnTheWay(256 * MiB),
    (bytes) => bytes > 64 * MiB,
  );
  assert.ok(plenty > 64 * MiB && plenty <= 256 * MiB, `${plenty / MiB} MiB`);
  const little = await mostOnTheWay(32 * MiB);
  assert.ok(little <= 32 * MiB, `${little / MiB} MiB`);
});

async function eventDescriptors(): Promise<number> {
  const links = (await readdir("/proc/self/fd")).map((fd) =>
    readlink(`/proc/self/fd/${fd}`).catch(() => ""),
  );
  return (await Promise.all(links)).filter((link) => link.includes("eventfd")).length;
}

test("each of sixteen copies, one after another on one engine, can use all of its memory", async () => {
  await using dir = await tempDir();
  const log = join(dir.path, "log");
  await using source = await startNbdkit(
    dir.path,
    ...["--threads=64", "-r", "--filter=log", "--filter=delay", "pattern", "size=8M"],
    ...[`logfile=${log}`, "rdelay=100ms"],
  );
  await using target = await startNbdkit(dir.path, "null", "size=8M");
  using engine = new Engine({ memoryBytes: 8 * MiB });
  const copyOnce = async (): Promise<{ reads: number; descriptors: number }> => {
    const before = (await readFile(log, "utf8")).length;
    await engine.copy({
      source: { uri: source.uri, connections: 1 },
      target: { uri: target.uri, connections: 1 },
      capacityBytes: 8 * MiB,
      requestBytes: 256 << 10,
      sourceExtents: false,
    });
    const reads = mostAtOnce((await readFile(log, "utf8")).slice(before));
    return { reads, descriptors: await eventDescriptors() };
  };
  const first = await copyOnce();
  for (let i = 0; i < 14; i++) await copyOnce();
  const last = await copyOnce();
  // It has room for 32, and a sixteenth of it for 2; a busy machine may not send all in time.
  assert.ok(last.reads > 16, `${last.reads} reads at once, the first copy ${first.reads}`);
  assert.equal(last.descriptors, first.descriptors);
});
