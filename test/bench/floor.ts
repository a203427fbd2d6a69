/** How fast the work of a full copy could be done at all here: each half alone, and bare sockets. */
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { NbdServer } from "../lab/nbd-server.ts";
import type { Cell } from "./cells.ts";
import { type NbdcopySettings, nbdcopyArguments } from "./contenders.ts";
import { type Disk, writeRanges } from "./disks.ts";
import type { FloorResult } from "./results.ts";
import type { Target } from "./servers.ts";
import { runTimed } from "./tools.ts";
import type { Workbench } from "./workbench.ts";

const triesMaximum = 2;
const backgroundMs = 200;
const pushDepth = 16;
const pushRequestBytes = 1024 * 1024;

export async function measureFloor(
  bench: Workbench,
  at: { cell: Cell; disk: Disk; source: NbdServer; target: Target; nbdcopy: NbdcopySettings },
): Promise<FloorResult> {
  const { disk, source, target, cell } = at;
  const { tools, folder } = bench;
  const data = await writeRanges(join(folder, "floor-data"), disk.dataRanges);
  const holes = await writeRanges(join(folder, "floor-holes"), disk.holeRanges);
  const fresh = () => target.reset({ sizeBytes: disk.sizeBytes });
  const read = ["nbdcopy", ...nbdcopyArguments(at.nbdcopy), source.uri, "null:"];
  const write = [tools.push, target.uri, data, holes];
  const both = [1, 2, 4].map((connections) => [
    ...write,
    ...[connections, pushDepth, pushRequestBytes].map(String),
  ]);
  const sourceAlone = await fastest(
    bench,
    [read, ["nbdcopy", source.uri, "null:"]],
    async () => {},
  );
  const targetAlone = await fastest(bench, both, fresh);
  const bytes = String(disk.allocatedBytes);
  const sockets = [1, 2].map((chains) => [tools.relay, bytes, String(chains)]);
  const rawSocket = await fastest(bench, sockets, async () => {});
  const bothOnTheseCoresMs = (sourceAlone.busyMs + targetAlone.busyMs) / cpus().length;
  return {
    ...{ name: cell.name, connections: cell.connections, target: cell.target },
    sourceAloneMs: sourceAlone.wallMs,
    targetAloneMs: targetAlone.wallMs,
    bothOnTheseCoresMs,
    floorMs: Math.max(sourceAlone.wallMs, targetAlone.wallMs, bothOnTheseCoresMs),
    rawSocketMs: rawSocket.wallMs,
  };
}

/** The fastest run, and the CPU time that it cost the whole machine: client, server and kernel. */
async function fastest(
  bench: Workbench,
  commands: string[][],
  prepare: () => Promise<void>,
): Promise<{ wallMs: number; busyMs: number }> {
  let best = { wallMs: Number.POSITIVE_INFINITY, busyMs: 0 };
  for (const command of commands) {
    for (let i = 0; i < Math.min(bench.pairs, triesMaximum); i++) {
      await prepare();
      const idleStart = await busyMs();
      await sleep(backgroundMs);
      const start = await busyMs();
      const { wallMs } = await runTimed(bench.tools, command);
      const background = ((start - idleStart) / backgroundMs) * wallMs;
      const used = Math.max((await busyMs()) - start - background, 0);
      if (wallMs < best.wallMs) best = { wallMs, busyMs: used };
    }
  }
  return best;
}

/** CPU time of the machine since it started, idle and waiting left out. */
async function busyMs(): Promise<number> {
  const stat = await readFile("/proc/stat", "utf8");
  const fields = stat.slice(0, stat.indexOf("\n")).split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) * 10;
}
