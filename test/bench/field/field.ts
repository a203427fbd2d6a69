/** One cell of the field. */

import { nbdcopyDefaults } from "../contenders.ts";
import { median } from "../results.ts";
import { seconds, type Workbench } from "../workbench.ts";
import type { FieldCell, ManyCell, WholeCell } from "./cells.ts";
import { measureRate } from "./rate.ts";
import type { FieldResult, ManyResult, WholeResult } from "./results.ts";
import { engineClient, nbdcopyClient, runBetween } from "./runs.ts";

/** A copy that has not ended by then does not. */
const wholeMaximumMs = 180_000;

export async function measureField(
  bench: Workbench,
  cell: FieldCell,
  cellMs: number,
): Promise<FieldResult> {
  if (cell.kind === "rate") return await measureRate(bench, cell, cellMs);
  return cell.kind === "whole" ? await measureWhole(bench, cell) : await measureMany(bench, cell);
}

async function measureWhole(bench: Workbench, cell: WholeCell): Promise<WholeResult> {
  const { flushTimeoutMs, checkpointIntervalMs, maxBytesPerSecond, targetBytes } = cell;
  const limits = { flushTimeoutMs, checkpointIntervalMs, maxBytesPerSecond };
  const clients = [
    engineClient("migratekit", limits),
    // nbdcopy knows no rate, and does not look at the target's blocks.
    ...(targetBytes === undefined ? [nbdcopyClient(nbdcopyDefaults)] : []),
  ];
  const sizeBytes = scaled(bench, cell.sizeBytes);
  const place = { sizeBytes, targetBytes: targetBytes && targetBytes - cell.sizeBytes + sizeBytes };
  const result: WholeResult = { kind: "whole", name: cell.name, contenders: [] };
  for (const client of clients) {
    const ran = await runBetween(bench, cell, client, { ...place, forMs: wholeMaximumMs });
    if (ran.verdict.missing > 0)
      throw new Error(`${client.name} did not end in ${seconds(wholeMaximumMs)}`);
    result.contenders.push({
      ...{ name: client.name, wallMs: ran.endedMs - ran.startedMs, verdict: ran.verdict },
      dirtyBytes: Math.max(...ran.target.map(({ dirtyBytes }) => dirtyBytes)),
      flushes: ran.target.at(-1)?.flushes ?? 0,
    });
  }
  const figures = result.contenders.map(({ name, wallMs }) => `${name} ${seconds(wallMs)}`);
  bench.log(figures.join(", "));
  return result;
}

async function measureMany(bench: Workbench, cell: ManyCell): Promise<ManyResult> {
  const sizeBytes = scaled(bench, cell.bytesEach);
  const { copies, atOnce } = cell;
  const result: ManyResult = {
    ...{ kind: "many", name: cell.name, against: cell.against, contenders: [] },
  };
  const engines = [
    { name: "migratekit" as const },
    ...(bench.before ? [{ name: "migratekit-before" as const, checkout: bench.before }] : []),
  ];
  const runs = engines.map(({ name, ...engine }) => {
    const run = async (job: { copies: number; atOnce: number }, bytes: number) => {
      const client = engineClient(name, { ...engine, ...job });
      const { output } = await runBetween(bench, cell, client, { sizeBytes: bytes });
      const { eachMs, allMs } = JSON.parse(output) as { eachMs: number[]; allMs: number };
      return { eachMs, rate: (job.copies * bytes * 1000) / allMs };
    };
    return { name, run, all: [] as Awaited<ReturnType<typeof run>>[], one: [] as number[] };
  });
  for (let round = 0; round < bench.pairs; round++)
    for (const { run, all, one } of runs) {
      all.push(await run({ copies, atOnce }, sizeBytes));
      if (cell.against === "one")
        one.push((await run({ copies: 1, atOnce: 1 }, sizeBytes * copies)).rate);
    }
  for (const { name, all, one } of runs) {
    const usual = all.toSorted((a, b) => a.rate - b.rate)[all.length >> 1]!;
    const rateOfOne = one.length > 0 ? { rateOfOne: median(one) } : {};
    result.contenders.push({ name, ...usual, ...rateOfOne });
    bench.log(
      `${name}: ${copies} copies of ${seconds(median(usual.eachMs))}, the last ${seconds(usual.eachMs.at(-1)!)}`,
    );
  }
  return result;
}

/** Smaller where all is; the end that is not whole stays. */
function scaled(bench: Workbench, bytes: number): number {
  const whole = 2 ** 20;
  const shared = Math.max(Math.floor((bytes * bench.scale.fieldShare) / whole), 1) * whole;
  return shared + (bytes % whole);
}
