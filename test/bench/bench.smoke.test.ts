import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { tempDir } from "../temp-dir.ts";
import { runBetween } from "./field/runs.ts";
import type { BenchResults } from "./results.ts";
import { checkEqual } from "./servers.ts";
import { buildTools } from "./tools.ts";

const run = promisify(execFile);
const bench = join(import.meta.dirname, "bench.ts");

async function runBench(...args: string[]): Promise<string> {
  const options = ["--disable-warning=ExperimentalWarning", bench, ...args];
  return (await run(process.execPath, options)).stdout;
}

test("the bench runs a tiny matrix, compares every copy, and writes JSON, tables and plots", async () => {
  await using dir = await tempDir();
  const folder = dir.path;
  await mkdir(join(folder, "performance"));
  await writeFile(
    join(folder, "performance/measurements.md"),
    "# Ours\n\nKept.\n\n<!-- What follows is written by `npm run bench`. -->\nold\n<!-- Here it ends. -->\n\nKept too.\n",
  );
  const cells =
    "full/0ms/several/qemu-nbd|full/2ms/one/nbd-server|tls/|incremental/mixed/2ms/stunnel";
  const output = await runBench(
    ...["--scale", "tiny", "--only", `${cells}|extent-scale`, "--budget-minutes", "0.01"],
    ...["--json", "-", "--docs", folder],
  );
  const results = JSON.parse(output) as BenchResults;
  assert.deepEqual(
    results.cells.map(({ name, contenders }) => [name, contenders.map((entry) => entry.name)]),
    [
      ["full/0ms/several/qemu-nbd", ["migratekit", "nbdcopy", "qemu-img", "migratekit-fixed"]],
      [
        "full/2ms/one/nbd-server",
        ["migratekit", "nbdcopy", "qemu-img", "migratekit-fixed", "serial"],
      ],
      ["tls/nbd-server", ["migratekit", "nbdcopy", "qemu-img", "migratekit-stunnel"]],
      ["tls/qemu-nbd", ["migratekit", "nbdcopy", "qemu-img"]],
      ["incremental/mixed/2ms/stunnel", ["migratekit", "migratekit-one", "serial"]],
    ],
  );
  for (const { contenders } of results.cells)
    for (const { samples, name } of contenders) {
      assert.ok(samples.length >= 1, name);
      for (const { wallMs, cpuMs, peakBytes } of samples)
        assert.ok(wallMs > 0 && cpuMs > 0 && peakBytes > 0, name);
    }
  assert.equal(results.floors.length, 1);
  assert.deepEqual(
    results.extentScale.map(({ extents }) => extents),
    [20, 100],
  );

  const page = await readFile(join(folder, "performance/measurements.md"), "utf8");
  for (const part of ["Kept.", "Kept too.", "## Claims", "## Full copy", "## Changed ranges"])
    assert.ok(page.includes(part), part);
  assert.ok(!page.includes("old"));
  assert.deepEqual((await readdir(join(folder, "performance"))).sort(), [
    "extents.svg",
    "full-copy-cpu.svg",
    "full-copy.svg",
    "incremental.svg",
    "measurements.md",
  ]);
});

test("a target with one wrong byte fails the comparison that follows each run", async () => {
  await using dir = await tempDir();
  const folder = dir.path;
  const [right, wrong] = [join(folder, "right"), join(folder, "wrong")];
  const bytes = Buffer.alloc(64 * 1024, 7);
  await writeFile(right, bytes);
  await checkEqual(right, right, "nobody");
  bytes[40_000] = 8;
  await writeFile(wrong, bytes);
  await assert.rejects(checkEqual(wrong, right, "somebody"), /somebody left a target that differs/);
});

test("the bench runs a tiny field: rates against swept settings, a copy to its end, several copies", async () => {
  const cells = "field/(line/50ms/1gbit|minimum-block/max-rate|many/sixteen)$";
  const options = ["--scale", "tiny", "--only", cells, "--budget-minutes", "0.01"];
  const { field } = JSON.parse(await runBench(...options, "--json", "-")) as BenchResults;
  assert.deepEqual(
    field.map(({ name, contenders }) => [name, contenders.map((entry) => entry.name)]),
    [
      ["field/line/50ms/1gbit", ["migratekit", "migratekit-fixed", "nbdcopy"]],
      ["field/minimum-block/max-rate", ["migratekit"]],
      ["field/many/sixteen", ["migratekit"]],
    ],
  );
  for (const { name, ...result } of field) {
    if (result.kind === "rate") {
      assert.ok(result.contenders[0]!.rates[0]! > 0 && result.contenders[0]!.opened > 0, name);
      // No more than the line carries, but for what was on it when the look began.
      for (const { rates } of result.contenders) assert.ok(rates[0]! < 2 * 125_000_000, name);
    }
    if (result.kind === "whole")
      assert.deepEqual(result.contenders[0]?.verdict, { wrong: 0, twice: 0, missing: 0 });
    if (result.kind === "many") assert.equal(result.contenders[0]?.eachMs.length, 16);
  }
});

test("a target of the field finds out who writes other bytes, leaves some out, or writes some twice", async () => {
  await using dir = await tempDir();
  const bench = { folder: dir.path, tools: await buildTools(dir.path) };
  const cell = { source: { paces: [{}] }, target: { paces: [{}] } };
  const sizeBytes = 2 ** 20;
  const other = join(dir.path, "other");
  await writeFile(other, Buffer.alloc(sizeBytes, 7));
  const client = (command: (source: string, target: string) => string[]) =>
    runBetween(
      bench,
      cell,
      { name: "nbdcopy", settings: "", opensInTurn: 1, command },
      { sizeBytes },
    );
  await assert.rejects(
    client((_, target) => ["nbdcopy", other, target]),
    /nbdcopy wrote 256 wrong blocks/,
  );
  await assert.rejects(
    client(() => ["true"]),
    /left 256 blocks unwritten/,
  );
  const twice = await client((source, target) => [
    ...["sh", "-c", 'nbdcopy "$0" "$1" && nbdcopy "$0" "$1"', source, target],
  ]);
  assert.deepEqual(twice.verdict, { wrong: 0, twice: 256, missing: 0 });
});

test("the bench lists the whole matrix of the issue", async () => {
  const names = (await runBench("--list")).trim().split("\n");
  assert.equal(names.filter((name) => name.startsWith("full/")).length, 21);
  for (const shape of ["mixed", "small", "many"])
    for (const latency of ["0ms", "2ms", "10ms"])
      assert.ok(names.includes(`incremental/${shape}/${latency}/nbd-server`), shape);
  assert.equal(names.filter((name) => /^field\/\d+-parallel\//.test(name)).length, 12);
  for (const part of [
    "open/4s",
    "cap/total",
    "jitter",
    "quick-first",
    "change/rate",
    "line/100ms/10gbit",
  ])
    assert.ok(names.includes(`field/${part}`), part);
});

test("the bench refuses options that it does not know", async () => {
  await assert.rejects(runBench("--pairs", "none"), { code: 2 });
  await assert.rejects(runBench("--only", "nothing-like-it"), { code: 2 });
});
