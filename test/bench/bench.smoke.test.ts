import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { tempDir } from "../temp-dir.ts";
import type { BenchResults } from "./results.ts";
import { checkEqual } from "./servers.ts";

const run = promisify(execFile);
const bench = join(import.meta.dirname, "bench.ts");

async function runBench(...args: string[]): Promise<string> {
  const options = ["--disable-warning=ExperimentalWarning", bench, ...args];
  return (await run(process.execPath, options)).stdout;
}

test("the bench runs a tiny matrix, compares every copy, and writes JSON, tables and plots", async () => {
  await using dir = await tempDir();
  const folder = dir.path;
  await writeFile(
    join(folder, "performance.md"),
    "# Ours\n\nKept.\n\n<!-- What follows is written by `npm run bench`. -->\nold\n<!-- Here it ends. -->\n\nKept too.\n",
  );
  const cells = "full/0ms/several/qemu-nbd|full/2ms/one/nbd-server|incremental/mixed/2ms/stunnel";
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

  const page = await readFile(join(folder, "performance.md"), "utf8");
  for (const part of ["Kept.", "Kept too.", "## Claims", "## Full copy", "## Changed ranges"])
    assert.ok(page.includes(part), part);
  assert.ok(!page.includes("old"));
  assert.deepEqual((await readdir(join(folder, "performance"))).sort(), [
    "extents.svg",
    "full-copy-cpu.svg",
    "full-copy.svg",
    "incremental.svg",
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

test("the bench lists the whole matrix of the issue", async () => {
  const names = (await runBench("--list")).trim().split("\n");
  assert.equal(names.filter((name) => name.startsWith("full/")).length, 21);
  for (const shape of ["mixed", "small", "many"])
    for (const latency of ["0ms", "2ms", "10ms"])
      assert.ok(names.includes(`incremental/${shape}/${latency}/nbd-server`), shape);
});

test("the bench refuses options that it does not know", async () => {
  await assert.rejects(runBench("--pairs", "none"), { code: 2 });
  await assert.rejects(runBench("--only", "nothing-like-it"), { code: 2 });
});
