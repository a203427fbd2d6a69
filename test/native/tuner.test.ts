/** How a copy is tuned: on traces made by hand, and against the field's sources and targets, played in seconds. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const native = fileURLToPath(new URL("../../native/", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "tuner-"));
after(() => rmSync(dir, { recursive: true }));

/** Compiles a driver of tools/ with files of native/. @returns where it is */
function build(name: string, ...files: string[]): string {
  const driver = fileURLToPath(new URL(`tools/${name}.cc`, import.meta.url));
  const out = join(dir, name);
  const sources = [driver, ...files.map((file) => join(native, file))];
  execFileSync("g++", ["-std=c++20", "-O2", `-I${native}`, ...sources, "-o", out]);
  return out;
}

const traces = build("traces", "tuner.cc", "zero_proof.cc");
for (const name of execFileSync(traces, { encoding: "utf8" }).trim().split("\n"))
  test(name, async () => {
    const { stdout } = await run(traces, [name]).catch((error: { stdout: string }) => error);
    assert.equal(stdout, "");
  });

interface Outcome {
  name: string;
  /** Of the best fixed settings, over the second half. */
  ofBest: number;
  /** From the start or the change to the first second at 0.9 of it, the time of opens taken out; -1: never. */
  settledAfter: number;
  /** Connections opened beyond those in use at the end. */
  opens: number;
  /** Moments at which the source was asked for more. */
  asks: number;
  sources: number;
}

const field = build("field", "tuner.cc", "side_health.cc");

async function play(
  seconds: number,
  cores: number,
  budgetMiB: number,
  cells = "",
): Promise<Outcome[]> {
  const args = [seconds, cores, budgetMiB, cells].map(String);
  const { stdout } = await run(field, args, { maxBuffer: 1 << 24 });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Outcome);
}

const sorted = (values: number[]) => values.toSorted((a, b) => a - b);

for (const [cores, budgetMiB] of [
  [1, 64],
  [2, 64],
  [8, 64],
  [2, 32],
  [2, 256],
] as const)
  test(`in every cell of the field the plan comes to 0.9 of the best one (${cores} cores, ${budgetMiB} MiB)`, async () => {
    const outcomes = await play(600, cores, budgetMiB);
    assert.ok(outcomes.length > 400);
    for (const { name, ofBest, settledAfter } of outcomes) {
      assert.ok(ofBest >= 0.9, `${name}: ${ofBest} of the best`);
      assert.ok(settledAfter >= 0, `${name} never settled`);
    }
    const times = sorted(outcomes.map(({ settledAfter }) => settledAfter));
    assert.ok(
      times[times.length >> 1]! <= 10,
      `settled after ${times[times.length >> 1]} s in the median`,
    );
  });

test("a changed flow is met within five seconds in the median", async () => {
  const times = sorted((await play(600, 2, 64, "change/")).map(({ settledAfter }) => settledAfter));
  assert.ok(times[0]! >= 0 && times[times.length >> 1]! <= 5, times.join(" "));
});

test("in ten hours at most thirty connections are opened beyond those in use", async () => {
  for (const cells of [
    "10ms/none",
    "1ms/each/open0",
    "10ms/all/open1",
    "10ms/both/open4",
    "change",
    "cache",
  ])
    for (const { name, opens, ofBest } of await play(36_000, 2, 64, cells)) {
      assert.ok(opens <= 30, `${name}: ${opens} opens`);
      assert.ok(ofBest >= 0.95, `${name}: ${ofBest} of the best`);
    }
});

test("in ten hours a source that refused more is asked at most ten times", async () => {
  const outcomes = await play(36_000, 2, 64, "refused");
  assert.ok(outcomes.length === 2);
  for (const { name, asks, sources } of outcomes) {
    assert.ok(asks <= 10, `${name}: ${asks} times`);
    assert.equal(sources, 2);
  }
});

test("below a rate limit more connections are tried, at the limit none", async () => {
  const [limited] = await play(600, 1, 64, "limit");
  assert.ok(limited!.ofBest >= 0.95 && limited!.sources <= 4, JSON.stringify(limited));
});
