/** One cell of the incremental copy: our engine over several connections and over one, and a serial loop. */
import { join } from "node:path";
import type { Cell, Shape } from "./cells.ts";
import { type Contender, engineBefore, engineContender, serialContender } from "./contenders.ts";
import { mixedLengths, spreadExtents, writeRanges } from "./disks.ts";
import { type Change, createChange } from "./incremental-disks.ts";
import type { CellResult } from "./results.ts";
import { startSource, startTarget } from "./servers.ts";
import { meet, seconds, type Workbench } from "./workbench.ts";

const smallExtentBytes = 64 * 1024;
/** A serial loop that would take longer runs over a part of the extents: its cost is linear. */
const serialMaximumMs = 10_000;
/** What a request to a source costs besides its latency, roughly: only to choose that part. */
const serialOverheadMs = 0.4;

/** The change of a shape; the file names are the same for all shapes, so one at a time. */
export async function createShape(bench: Workbench, shape: Shape): Promise<Change> {
  const { folder, scale } = bench;
  if (shape === "mixed") {
    const { extents, diskBytes } = scale.mixed;
    const ranges = spreadExtents(mixedLengths(extents), diskBytes, 7);
    return createChange({ folder, ranges, sizeBytes: diskBytes, oldContent: true });
  }
  const { extents, diskBytes } = shape === "small" ? scale.small : scale.many;
  const lengths = Array.from({ length: extents }, () => smallExtentBytes);
  const ranges = spreadExtents(lengths, diskBytes, 8);
  return createChange({ folder, ranges, sizeBytes: diskBytes, oldContent: shape === "small" });
}

export async function measureIncremental(
  bench: Workbench,
  cell: Cell,
  change: Change,
  cellMs: number,
): Promise<CellResult> {
  const startedAt = Date.now();
  const { latencyMs } = cell;
  const plugin = ["file", change.sourcePath];
  const open = (connections: "one" | "several") =>
    startSource({ plugin, latencyMs, connections, connectionRate: 0 }, bench.folder);
  await using target = await startTarget(cell.target, bench.folder, change.sizeBytes);
  await using several = await open("several");
  await using one = await open("one");
  const job = (uri: string) => ({
    source: { uri },
    target: { uri: target.uri },
    capacityBytes: change.sizeBytes,
    rangesPath: change.rangesPath,
  });
  const contenders: Contender[] = [
    engineContender("migratekit", job(several.uri)),
    ...engineBefore(bench, job(several.uri)),
  ];
  // A hundred thousand small reads over one connection are all waiting.
  if (cell.shape !== "many") contenders.push(engineContender("migratekit-one", job(one.uri)));
  const serial = await serialWork(bench, cell, change);
  contenders.push(serialContender(bench.tools, several.uri, target.uri, serial));
  const before = change.beforePath
    ? { before: change.beforePath }
    : { sizeBytes: change.sizeBytes };
  const work = { target, before, expectedPath: change.expectedPath };
  const results = await meet(bench, contenders, work, startedAt + cellMs);
  bench.log(
    results.map(({ name, medianMs }) => `${name} ${seconds(medianMs)}`).join(", ") +
      ` in ${results[0]!.samples.length} rounds; all of it ${seconds(Date.now() - startedAt)}`,
  );
  return {
    ...{ name: cell.name, group: "incremental", shape: cell.shape, latencyMs },
    ...{ connections: "several", connectionRate: 0, target: cell.target },
    ...{ payloadBytes: change.payloadBytes, extents: change.ranges.length / 2 },
    ...{ contenders: results, swept: {} },
  };
}

async function serialWork(
  bench: Workbench,
  cell: Cell,
  change: Change,
): Promise<{ rangesPath: string; share?: number }> {
  const extents = change.ranges.length / 2;
  const estimateMs = extents * (cell.latencyMs + serialOverheadMs);
  const every = Math.ceil(estimateMs / serialMaximumMs);
  if (every <= 1) return { rangesPath: change.rangesPath };
  const picked: number[] = [];
  let bytes = 0;
  for (let i = 0; i < extents; i += every) {
    picked.push(change.ranges[2 * i]!, change.ranges[2 * i + 1]!);
    bytes += change.ranges[2 * i + 1]!;
  }
  const path = join(bench.folder, "serial-ranges");
  await writeRanges(path, Float64Array.from(picked));
  return { rangesPath: path, share: bytes / change.payloadBytes };
}
