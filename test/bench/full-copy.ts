/** One cell of the full copy: sweeps on the small disk, finals on the real one, then the pairs. */
import { join } from "node:path";
import type { NbdServer } from "../lab/nbd-server.ts";
import type { Cell } from "./cells.ts";
import {
  type Contender,
  type EngineSettings,
  engineBefore,
  engineContender,
  type NbdcopySettings,
  nbdcopyContender,
  nbdcopyDefaults,
  qemuImgContender,
  serialContender,
} from "./contenders.ts";
import { type Disk, writeRanges } from "./disks.ts";
import { measureFloor } from "./floor.ts";
import type { CellResult, FloorResult } from "./results.ts";
import { startSource, startTarget, type Target } from "./servers.ts";
import { type Axis, sweep } from "./sweep.ts";
import { meet, seconds, trialMs, type Work, type Workbench } from "./workbench.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
/** How many of a sweep's best settings meet on the real disk. */
const finalists = 2;
const sweepShare = 0.35;

export interface Disks {
  full: Disk;
  /** For sweeps. */
  small: Disk;
}

interface Place {
  source: NbdServer;
  disk: Disk;
  work: Work;
}

export async function measureFullCopy(
  bench: Workbench,
  cell: Cell,
  disks: Disks,
  cellMs: number,
): Promise<{ cell: CellResult; floor?: FloorResult }> {
  const startedAt = Date.now();
  const deadline = startedAt + cellMs;
  await using target = await startTarget(cell.target, bench.folder, disks.full.sizeBytes);
  await using full = await place(bench, cell, disks.full, target);
  await using small = await place(bench, cell, disks.small, target);

  const sweepMs = Math.min(cellMs * sweepShare, bench.scale.sweepMaximumMs);
  const until = (share: number) => Date.now() + sweepMs * share;

  const nbdcopy = await best(
    nbdcopyDefaults,
    nbdcopyAxes(cell),
    (at, settings) => nbdcopyContender(bench.tools, at.source.uri, at.work.target.uri, settings),
    { small, full, deadline: until(0.55) },
  );
  const fixed = await best(fixedStart(cell), fixedAxes(cell), engineFixed, {
    ...{ small, full, deadline: until(0.3) },
  });
  const qemu = await best(
    { coroutines: 8 },
    [[{ coroutines: 4 }, { coroutines: 16 }]],
    (at, { coroutines }) =>
      qemuImgContender(bench.tools, at.source.uri, at.work.target.uri, coroutines),
    { small, full, deadline: until(0.15) },
  );

  const contenders: Contender[] = [
    engineContender("migratekit", jobOf(full)),
    ...engineBefore(bench, jobOf(full)),
    nbdcopyContender(bench.tools, full.source.uri, target.uri, nbdcopy.settings),
    qemuImgContender(bench.tools, full.source.uri, target.uri, qemu.settings.coroutines),
    engineFixed(full, fixed.settings),
  ];
  if (cell.latencyMs === 10 && cell.connections === "one")
    contenders.push(nbdcopyContender(bench.tools, full.source.uri, target.uri));
  if (cell.connections === "one" && cell.target === "nbd-server") {
    const whole = Float64Array.of(0, disks.full.sizeBytes);
    const rangesPath = await writeRanges(join(bench.folder, "whole"), whole);
    contenders.push(serialContender(bench.tools, full.source.uri, target.uri, { rangesPath }));
  }
  const results = await meet(bench, contenders, full.work, deadline);
  const result: CellResult = {
    ...{ name: cell.name, group: "full", shape: cell.shape, latencyMs: cell.latencyMs },
    ...{ connections: cell.connections, connectionRate: cell.connectionRate },
    ...{ target: cell.target, payloadBytes: disks.full.allocatedBytes },
    ...{ extents: disks.full.dataRanges.length / 2, contenders: results },
    swept: { nbdcopy: nbdcopy.tried, "qemu-img": qemu.tried, "migratekit-fixed": fixed.tried },
  };
  bench.log(
    results.map(({ name, medianMs }) => `${name} ${seconds(medianMs)}`).join(", ") +
      ` in ${results[0]!.samples.length} rounds; all of it ${seconds(Date.now() - startedAt)}`,
  );
  if (cell.latencyMs > 0 || cell.connectionRate > 0) return { cell: result };
  const floor = await measureFloor(bench, { ...full, target, cell, nbdcopy: nbdcopy.settings });
  return { cell: result, floor };
}

async function place(
  bench: Workbench,
  cell: Cell,
  disk: Disk,
  target: Target,
): Promise<Place & AsyncDisposable> {
  const { latencyMs, connections, connectionRate } = cell;
  const plugin = ["file", disk.path];
  const source = await startSource(
    { plugin, latencyMs, connections, connectionRate },
    bench.folder,
  );
  const work = { target, before: { sizeBytes: disk.sizeBytes }, expectedPath: disk.path };
  return { source, disk, work, [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]() };
}

function jobOf({ source, disk, work }: Place) {
  return {
    source: { uri: source.uri },
    target: { uri: work.target.uri },
    capacityBytes: disk.sizeBytes,
  };
}

function engineFixed(at: Place, settings: EngineSettings): Contender {
  return engineContender("migratekit-fixed", jobOf(at), settings);
}

/** The best settings: swept on the small disk, the first few run once more on the real one. */
async function best<Settings extends object>(
  start: Settings,
  axes: Axis<Settings>[],
  contender: (at: Place, settings: Settings) => Contender,
  how: { small: Place; full: Place; deadline: number },
): Promise<{ settings: Settings; tried: number }> {
  const { ranking } = await sweep({
    ...{ start, axes, deadline: how.deadline },
    measure: (settings) => trialMs(contender(how.small, settings), how.small.work),
  });
  let winner = ranking[0]!.settings;
  let winnerMs = Number.POSITIVE_INFINITY;
  for (const { settings } of ranking.slice(0, finalists)) {
    const wallMs = await trialMs(contender(how.full, settings), how.full.work);
    if (wallMs < winnerMs) [winner, winnerMs] = [settings, wallMs];
  }
  return { settings: winner, tried: ranking.length };
}

/** Request and queue size belong together, and matter most; then how many share the work. */
function nbdcopyAxes(cell: Cell): Axis<NbdcopySettings>[] {
  const size = (requestBytes: number, queueBytes: number) => ({ requestBytes, queueBytes });
  return [
    [
      ...[size(MiB, 64 * MiB), size(4 * MiB, 128 * MiB), size(MiB, 16 * MiB)],
      ...[size(2 * MiB, 64 * MiB), size(8 * MiB, 256 * MiB), size(512 * KiB, 32 * MiB)],
    ],
    cell.connections === "one"
      ? []
      : [
          ...[
            { connections: 8, threads: 2 },
            { connections: 2, threads: 2 },
          ],
          ...[
            { connections: 1, threads: 1 },
            { connections: 16, threads: 2 },
          ],
        ],
    [{ requests: 16 }, { requests: 128 }, { requests: 32 }],
  ];
}

function fixedStart(cell: Cell): EngineSettings {
  const sourceConnections = cell.connections === "one" ? 1 : 4;
  return { sourceConnections, targetConnections: 2, requestBytes: MiB };
}

function fixedAxes(cell: Cell): Axis<EngineSettings>[] {
  const pair = (sourceConnections: number, targetConnections: number) => ({
    sourceConnections,
    targetConnections,
  });
  return [
    cell.connections === "one"
      ? [pair(1, 1), pair(1, 4)]
      : [pair(2, 2), pair(8, 4), pair(1, 1), pair(8, 8), pair(4, 4)],
    [{ requestBytes: 2 * MiB }, { requestBytes: 512 * KiB }],
  ];
}
