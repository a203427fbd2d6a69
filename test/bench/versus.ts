/**
 * This engine against that of another checkout, in turn: `.ci/node test/bench/versus.ts --before FOLDER`, where the
 * addon is built. For changes of the engine: no sweeps, no opponents, but every
 * result is compared. Options as the bench's, of which it knows --before, --only, --pairs, --budget-minutes and --scale.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { guardFolder, releaseFolder } from "../lab/process.ts";
import { type Cell, listCells } from "./cells.ts";
import { engineContender } from "./contenders.ts";
import { createSparseDisk } from "./disks.ts";
import { createShape } from "./incremental.ts";
import { parseOptions } from "./options.ts";
import type { ContenderResult } from "./results.ts";
import { startSource, startTarget } from "./servers.ts";
import { buildTools, keepMemory } from "./tools.ts";
import { meet, type Work, type Workbench } from "./workbench.ts";

interface Subject {
  path: string;
  sizeBytes: number;
  rangesPath?: string;
  work: Omit<Work, "target">;
}

async function main(argv: string[]): Promise<void> {
  const options = parseOptions(argv, "");
  const { before } = options;
  if (!before) throw new TypeError("--before FOLDER: the other checkout");
  const folder = await mkdtemp("/dev/shm/mkv-");
  guardFolder(folder);
  await using undo = new AsyncDisposableStack();
  undo.defer(async () => {
    await rm(folder, { recursive: true, force: true });
    releaseFolder(folder);
  });
  const bench: Workbench = {
    ...{ folder, tools: await buildTools(folder), scale: options.scale, pairs: options.pairs },
    log: (line) => console.error(line),
  };
  if (options.scale.name !== "tiny") undo.use(await keepMemory(bench.tools));
  const cells = listCells(options.scale, options.only);
  const deadline = Date.now() + options.budgetMs;
  let subject: Subject | undefined;
  let shape: string | undefined;
  for (const [index, cell] of cells.entries()) {
    if (cell.shape !== shape) subject = await subjectOf(bench, cell);
    shape = cell.shape;
    const share = (deadline - Date.now()) / (cells.length - index);
    console.log(row(cell.name, await measure(bench, cell, subject!, before, Date.now() + share)));
  }
}

/** Disks of the last shape make room for those of this one. */
async function subjectOf(bench: Workbench, cell: Cell): Promise<Subject> {
  const { folder, scale } = bench;
  if (cell.shape === "full") {
    const path = join(folder, "full");
    await createSparseDisk(path, scale.fullDiskBytes);
    const sizeBytes = scale.fullDiskBytes;
    return { path, sizeBytes, work: { before: { sizeBytes }, expectedPath: path } };
  }
  await rm(join(folder, "full"), { force: true });
  const change = await createShape(bench, cell.shape);
  const { sizeBytes, sourcePath, rangesPath, expectedPath, beforePath } = change;
  const before = beforePath ? { before: beforePath } : { sizeBytes };
  return { path: sourcePath, sizeBytes, rangesPath, work: { before, expectedPath } };
}

async function measure(
  bench: Workbench,
  cell: Cell,
  { path, sizeBytes, rangesPath, work }: Subject,
  checkout: string,
  deadline: number,
): Promise<ContenderResult[]> {
  const { latencyMs, connections, connectionRate } = cell;
  await using target = await startTarget(cell.target, bench.folder, sizeBytes);
  const plugin = ["file", path];
  const spec = { plugin, latencyMs, connections, connectionRate };
  await using source = await startSource(spec, bench.folder);
  const job = {
    source: { uri: source.uri },
    target: { uri: target.uri },
    ...{ capacityBytes: sizeBytes, rangesPath },
  };
  const contenders = [
    engineContender("migratekit", job),
    engineContender("migratekit-before", { ...job, checkout }),
  ];
  return await meet(bench, contenders, { target, ...work }, deadline);
}

function row(name: string, results: ContenderResult[]): string {
  const [now, before] = results as [ContenderResult, ContenderResult];
  const times = (result: ContenderResult) =>
    result.samples.map(({ wallMs }) => (wallMs / 1000).toFixed(2)).join(" ");
  const connections = ({ engine }: ContenderResult) =>
    `${engine?.sourceConnections}+${engine?.targetConnections}`;
  return [
    name.padEnd(36),
    `${(now.medianMs / 1000).toFixed(2)} s, before ${(before.medianMs / 1000).toFixed(2)} s:`,
    `${(before.medianMs / now.medianMs).toFixed(2)} × as fast,`,
    `CPU ${(now.cpuMsMedian / before.cpuMsMedian).toFixed(2)} ×,`,
    `${connections(now)} (${connections(before)}), peak ${now.peakBytesMedian >> 20} (${before.peakBytesMedian >> 20}) MiB`,
    `[${times(now)} | ${times(before)}]`,
  ].join(" ");
}

await main(process.argv.slice(2));
