/**
 * The copy engine against nbdcopy, qemu-img and a serial loop, in one run, in turn. `npm run bench`;
 * see docs/performance/measurements.md for what is measured, and --help for the options.
 */
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { guardFolder, releaseFolder } from "../lab/process.ts";
import { type Cell, listCells } from "./cells.ts";
import { createSparseDisk } from "./disks.ts";
import { measureExtentScale } from "./extent-scale.ts";
import { type FieldCell, listFieldCells } from "./field/cells.ts";
import { measureField } from "./field/field.ts";
import { type Disks, measureFullCopy } from "./full-copy.ts";
import { createShape, measureIncremental } from "./incremental.ts";
import { describeMachine, otherLoad } from "./machine.ts";
import { type BenchOptions, parseOptions, usage } from "./options.ts";
import { renderReport, writeDocs } from "./report.ts";
import type { BenchResults } from "./results.ts";
import { measureTls } from "./tls.ts";
import { buildTools, keepMemory } from "./tools.ts";
import { seconds, type Workbench } from "./workbench.ts";

const memoryFolder = "/dev/shm";
const defaultDocs = join(import.meta.dirname, "../../docs");
const extentScaleName = "extent-scale";
/** Of the budget, beside the cells. */
const extentScaleWeight = 90;
/** Source and target of the shape with many extents, and what their pages cost besides. */
const manyBytesPerExtent = 2 * 64 * 1024 * 1.1;

async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help")) {
    console.log(usage);
    return 0;
  }
  const options = parseOptions(argv, defaultDocs);
  const cells = listCells(options.scale, options.only);
  const field = listFieldCells(options.scale.name === "complete", options.only);
  const withExtentScale = options.only?.test(extentScaleName) ?? true;
  if (options.list) {
    console.log([...[...cells, ...field].map(({ name }) => name), extentScaleName].join("\n"));
    return 0;
  }
  if (cells.length + field.length === 0 && !withExtentScale)
    throw new TypeError("--only matches no cell");
  const failures: string[] = [];
  const results = await measure(options, cells, field, withExtentScale, failures);
  const print = options.json === "-" ? console.error : console.log;
  print(renderReport(results));
  if (options.json === "-") console.log(JSON.stringify(results, null, 2));
  else if (options.json) await writeFile(options.json, `${JSON.stringify(results, null, 2)}\n`);
  if (failures.length > 0) {
    console.error(failures.map((text) => `bench: FAILED: ${text}`).join("\n"));
    return 1;
  }
  if (options.docs) await writeDocs(options.docs, results);
  return 0;
}

async function measure(
  options: BenchOptions,
  cells: Cell[],
  field: FieldCell[],
  withExtentScale: boolean,
  failures: string[],
): Promise<BenchResults> {
  const startedAt = Date.now();
  const folder = await mkdtemp(join(memoryFolder, "mkb-"));
  guardFolder(folder);
  await using undo = new AsyncDisposableStack();
  undo.defer(async () => {
    await rm(folder, { recursive: true, force: true });
    releaseFolder(folder);
  });
  const bench: Workbench = {
    ...{ folder, tools: await buildTools(folder), scale: options.scale, pairs: options.pairs },
    before: options.before,
    log: (line) => console.error(`bench: ${line}`),
  };
  if (options.scale.name !== "tiny") undo.use(await keepMemory(bench.tools));
  const notes = await otherLoad();
  for (const note of notes) bench.log(note);
  const results: BenchResults = {
    ...{ startedAt: new Date(startedAt).toISOString(), durationMs: 0 },
    ...{ scale: options.scale.name, pairs: options.pairs, machine: await describeMachine() },
    ...{ fullDisk: { sizeBytes: 0, allocatedBytes: 0, nonZeroBytes: 0 }, cells: [], floors: [] },
    ...{ extentScale: [], field: [], notes },
  };
  const budget = new Budget(
    options.budgetMs,
    [...cells, ...field],
    withExtentScale ? extentScaleWeight : 0,
  );
  const guarded = attemptsInto(failures, bench, results, options.json);
  await measureFull(bench, cells, budget, results, guarded);
  await measureChanges(bench, cells, budget, results, guarded);
  for (const cell of field)
    await guarded(cell.name, async () => {
      results.field.push(await measureField(bench, cell, budget.take(cell)));
    });
  if (withExtentScale)
    await guarded(extentScaleName, async () => {
      results.extentScale = await measureExtentScale(bench);
    });
  results.durationMs = Date.now() - startedAt;
  bench.log(`done in ${seconds(results.durationMs)}`);
  return results;
}

type Attempt = (name: string, work: () => Promise<void>) => Promise<void>;

/** A cell that fails does not take the others with it; what is known is saved after each one. */
function attemptsInto(
  failures: string[],
  bench: Workbench,
  results: BenchResults,
  json: string | undefined,
): Attempt {
  return async (name, work) => {
    bench.log(`${name} …`);
    try {
      await work();
    } catch (error) {
      const text = `${name}: ${error instanceof Error ? error.message : error}`;
      bench.log(`FAILED: ${text}`);
      failures.push(text);
      results.notes.push(`failed: ${name}`);
    }
    if (json && json !== "-") await writeFile(json, `${JSON.stringify(results, null, 2)}\n`);
  };
}

/** Shares what is left of the time out among what is left to be done. */
class Budget {
  readonly #deadline: number;
  #weights: number;

  constructor(totalMs: number, cells: { weight: number }[], extra: number) {
    this.#deadline = Date.now() + totalMs;
    this.#weights = cells.reduce((sum, { weight }) => sum + weight, extra);
  }

  /** To be called once for each cell, when it begins. */
  take({ weight }: { weight: number }): number {
    const left = Math.max(this.#deadline - Date.now(), 0);
    const share = (left * weight) / this.#weights;
    this.#weights -= weight;
    return share;
  }
}

async function measureFull(
  bench: Workbench,
  all: Cell[],
  budget: Budget,
  results: BenchResults,
  guarded: Attempt,
): Promise<void> {
  const cells = all.filter(({ shape }) => shape === "full" || shape === "tls");
  if (cells.length === 0) return;
  const { fullDiskBytes, sweepDiskBytes } = bench.scale;
  const paths = [join(bench.folder, "full"), join(bench.folder, "small")] as const;
  const disks: Disks = {
    full: await createSparseDisk(paths[0], fullDiskBytes),
    small: await createSparseDisk(paths[1], sweepDiskBytes),
  };
  const { sizeBytes, allocatedBytes, nonZeroBytes } = disks.full;
  results.fullDisk = { sizeBytes, allocatedBytes, nonZeroBytes };
  for (const cell of cells)
    await guarded(cell.name, async () => {
      if (cell.shape === "tls") {
        results.cells.push(await measureTls(bench, cell, disks.full, budget.take(cell)));
        return;
      }
      const measured = await measureFullCopy(bench, cell, disks, budget.take(cell));
      results.cells.push(measured.cell);
      if (measured.floor) results.floors.push(measured.floor);
    });
  for (const path of paths) await rm(path);
}

async function measureChanges(
  bench: Workbench,
  all: Cell[],
  budget: Budget,
  results: BenchResults,
  guarded: Attempt,
): Promise<void> {
  for (const shape of ["mixed", "small", "many"] as const) {
    const cells = all.filter((cell) => cell.shape === shape);
    if (cells.length === 0) continue;
    if (shape === "many") await fitIntoMemory(bench, results);
    const change = await createShape(bench, shape);
    for (const cell of cells)
      await guarded(cell.name, async () => {
        results.cells.push(await measureIncremental(bench, cell, change, budget.take(cell)));
      });
    for (const path of [change.sourcePath, change.beforePath, change.expectedPath])
      if (path) await rm(path, { force: true });
  }
}

async function fitIntoMemory(bench: Workbench, results: BenchResults): Promise<void> {
  const { bavail, bsize } = await statfs(memoryFolder);
  const { many } = bench.scale;
  const fitting = Math.floor((bavail * bsize * 0.9) / manyBytesPerExtent);
  if (fitting >= many.extents) return;
  const note = `memory holds ${fitting} extents of 64 KiB twice, so there are not ${many.extents}`;
  bench.log(note);
  results.notes.push(note);
  bench.scale = { ...bench.scale, many: { ...many, extents: fitting } };
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  console.error(`bench: ${error.message}\n${usage}`);
  process.exitCode = 2;
}
