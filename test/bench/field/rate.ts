/** A copy without end: settings swept, then all contenders in turn, each as long as its rate takes to show. */
import { type EngineSettings, type NbdcopySettings, nbdcopyDefaults } from "../contenders.ts";
import { median } from "../results.ts";
import { type Axis, sweep } from "../sweep.ts";
import { seconds, type Workbench } from "../workbench.ts";
import type { Pace, RateCell } from "./cells.ts";
import { msUntilRate, rateBetween } from "./rates.ts";
import type { RateContender, RateResult } from "./results.ts";
import { engineClient, type FieldClient, nbdcopyClient, type Ran, runBetween } from "./runs.ts";

const MiB = 1024 * 1024;
const sweepShare = 0.4;
const settledShare = 0.9;
/** Of a phase or a trial, what is left out before its rate is taken. */
const unsettledShare = 0.6;

/** Fixed settings at one pace, and what they reached there. */
interface Reference {
  client: FieldClient;
  rates: number[];
  opened: number;
}

export async function measureRate(
  bench: Workbench,
  cell: RateCell,
  cellMs: number,
): Promise<RateResult> {
  const startedAt = Date.now();
  const paces = distinctPaces(cell);
  const ownMs = Math.min(cellMs, bench.scale.fieldMaximumMs);
  const sweepMs = (ownMs * sweepShare) / paces.length;
  const fixed: Reference[] = [];
  const nbdcopy: Reference[] = [];
  for (const pace of paces) {
    const still = { ...cell, source: { ...cell.source, paces: [pace] } };
    fixed.push(await bestFixed(bench, still, Date.now() + sweepMs * 0.55));
    nbdcopy.push(await bestNbdcopy(bench, still, Date.now() + sweepMs * 0.45));
  }
  const ours = engineClient("migratekit");
  // As fixed settings get it, too.
  const phaseMs = bench.scale.phaseMs + opensMs(cell, ours);
  const free = [
    ours,
    ...(bench.before ? [engineClient("migratekit-before", { checkout: bench.before })] : []),
  ];
  const ran = new Map(free.map((client) => [client, [] as Ran[]]));
  const scaled = scalePhases(cell, phaseMs);
  let roundMs = 0;
  for (let round = 0; round < bench.pairs; round++) {
    if (round > 0 && Date.now() + roundMs > startedAt + ownMs) break;
    const begun = Date.now();
    for (const client of free)
      ran
        .get(client)!
        .push(await runBetween(bench, scaled, client, { forMs: phaseMs * cell.phases }));
    for (const [at, pace] of paces.entries())
      for (const reference of [fixed[at]!, nbdcopy[at]!]) await again(bench, cell, pace, reference);
    roundMs = Date.now() - begun;
  }
  const phases = Array.from({ length: cell.phases }, (_, phase) => phase % paces.length);
  const wanted = phases.map((at) => median(fixed[at]!.rates) * settledShare);
  const result: RateResult = {
    ...{ kind: "rate", name: cell.name, phaseMs },
    ...(cell.line && { lineRate: cell.line.rate, roundTripMs: cell.line.roundTripMs }),
    contenders: [
      ...free.map((client) => ofFree(client, ran.get(client)!, wanted, phaseMs)),
      ofReferences(phases.map((at) => fixed[at]!)),
      ofReferences(phases.map((at) => nbdcopy[at]!)),
    ],
  };
  const figures = result.contenders.map(
    ({ name, rates }) => `${name} ${rates.map((rate) => Math.round(rate / MiB)).join("/")}`,
  );
  bench.log(`${figures.join(", ")} MiB/s; all of it ${seconds(Date.now() - startedAt)}`);
  return result;
}

/** A change comes back to the first pace. */
function distinctPaces({ source, phases }: RateCell): Pace[] {
  return source.paces.slice(0, phases > 1 ? 2 : 1).map((pace) => ({ ...pace, atMs: 0 }));
}

function scalePhases(cell: RateCell, phaseMs: number): RateCell {
  const paces = cell.source.paces.map((pace, phase) => ({ ...pace, atMs: phase * phaseMs }));
  return { ...cell, source: { ...cell.source, paces } };
}

function opensMs({ source }: RateCell, { opensInTurn }: FieldClient): number {
  return opensInTurn * (source.openMs ?? 0);
}

/** Long enough that fixed settings have opened what they want, and then as long as others. */
function trialMs(bench: Workbench, cell: RateCell, client: FieldClient): number {
  return bench.scale.fieldTrialMs + opensMs(cell, client) + 10 * (cell.line?.roundTripMs ?? 0);
}

async function trial(bench: Workbench, cell: RateCell, client: FieldClient): Promise<Ran> {
  return await runBetween(bench, cell, client, { forMs: trialMs(bench, cell, client) });
}

async function again(bench: Workbench, cell: RateCell, pace: Pace, reference: Reference) {
  const still = { ...cell, source: { ...cell.source, paces: [pace] } };
  const ran = await trial(bench, still, reference.client);
  reference.rates.push(steadyAtEnd(bench, ran));
  reference.opened = Math.max(reference.opened, ran.source.at(-1)?.opened ?? 0);
}

function steady({ target }: Ran, fromMs: number, toMs: number): number {
  return rateBetween(target, fromMs + (toMs - fromMs) * unsettledShare, toMs);
}

/** Of a trial: the time in which connections were opened comes before. */
function steadyAtEnd(bench: Workbench, ran: Ran): number {
  return steady(ran, ran.endedMs - bench.scale.fieldTrialMs, ran.endedMs);
}

async function best<Settings extends object>(
  bench: Workbench,
  cell: RateCell,
  deadline: number,
  how: { start: Settings; axes: Axis<Settings>[]; client(settings: Settings): FieldClient },
): Promise<Reference> {
  const { ranking } = await sweep({
    ...{ start: how.start, axes: how.axes, deadline },
    measure: async (settings) => {
      const ran = await trial(bench, cell, how.client(settings));
      return 1e12 / Math.max(steadyAtEnd(bench, ran), 1);
    },
  });
  return { client: how.client(ranking[0]!.settings), rates: [], opened: 0 };
}

async function bestFixed(bench: Workbench, cell: RateCell, deadline: number): Promise<Reference> {
  const pair = (sourceConnections: number, targetConnections: number): EngineSettings => ({
    sourceConnections: Math.min(sourceConnections, cell.source.clients ?? sourceConnections),
    targetConnections: Math.min(targetConnections, cell.target.clients ?? targetConnections),
  });
  return await best<EngineSettings>(bench, cell, deadline, {
    // What most sources like best, as the time for trials is short.
    start: { ...pair(8, 4), requestBytes: 2 * MiB },
    axes: [
      [{ requestBytes: MiB }, { requestBytes: MiB / 2 }],
      [pair(4, 2), pair(2, 2), pair(8, 8), pair(1, 1)],
    ],
    client: (settings) => engineClient("migratekit-fixed", { settings }),
  });
}

/** With requests of 2 MiB at most, as VDDK takes them. */
async function bestNbdcopy(bench: Workbench, cell: RateCell, deadline: number): Promise<Reference> {
  const clients = Math.min(cell.source.clients ?? 16, cell.target.clients ?? 16);
  // With fewer threads it uses fewer connections.
  const connections = (count: number) => ({
    connections: Math.min(count, clients),
    threads: Math.min(count, clients),
  });
  return await best<NbdcopySettings>(bench, cell, deadline, {
    start: { ...nbdcopyDefaults, ...connections(8), requestBytes: 2 * MiB, queueBytes: 64 * MiB },
    axes: [
      [connections(16), connections(4)],
      [
        { requestBytes: MiB, queueBytes: 32 * MiB },
        { requestBytes: 2 * MiB, queueBytes: 256 * MiB },
      ],
    ],
    client: nbdcopyClient,
  });
}

function ofFree(
  { name, settings }: FieldClient,
  runs: Ran[],
  wanted: number[],
  phaseMs: number,
): RateContender {
  const inPhase = <Value>(value: (ran: Ran, fromMs: number, phase: number) => Value): Value[][] =>
    wanted.map((_, phase) => runs.map((ran) => value(ran, ran.startedMs + phase * phaseMs, phase)));
  const settled = inPhase(
    (ran, fromMs, phase) =>
      msUntilRate(ran.target, ran.source, wanted[phase]!, fromMs, fromMs + phaseMs) ??
      Number.POSITIVE_INFINITY,
  ).map(median);
  return {
    ...{ name, settings },
    rates: inPhase((ran, fromMs) => steady(ran, fromMs, fromMs + phaseMs)).map(median),
    settledMs: settled.map((ms) => (Number.isFinite(ms) ? ms : null)),
    opened: Math.max(...runs.map(({ source }) => source.at(-1)?.opened ?? 0)),
    refused: Math.max(...runs.map(({ source }) => source.at(-1)?.refused ?? 0)),
  };
}

function ofReferences(references: Reference[]): RateContender {
  const { name } = references[0]!.client;
  return {
    name,
    settings: [...new Set(references.map(({ client }) => client.settings))].join("; "),
    rates: references.map(({ rates }) => median(rates)),
    opened: Math.max(...references.map(({ opened }) => opened)),
    refused: 0,
  };
}
