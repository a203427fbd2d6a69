/** The field: sources and targets that behave as others than the bench's own two cores do. */

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
/** Bytes a second; a line of one Gbit. */
const gigabit = 125_000_000;

/** How a server answers, from some moment on; see tools/field/field.h. */
export interface Pace {
  /** Since its first request [0]; a cell leaves it to its phases. */
  atMs?: number;
  latencyMs?: number;
  /** Requests of a connection that are worked on at once [16]. */
  parallel?: number;
  /** Bytes a second of each connection, and of all [no limit]. */
  rate?: number;
  totalRate?: number;
}

export interface FieldServer {
  paces: Pace[];
  /** Latencies are spread so many per cent around the mean. */
  jitter?: number;
  /** What the first request of all takes, where it is not as the others. */
  firstUs?: number;
  openMs?: number;
  clients?: number;
  cacheBytes?: number;
  drainRate?: number;
  minimumBlockBytes?: number;
}

export interface Line {
  roundTripMs: number;
  rate: number;
}

interface Common {
  name: string;
  source: FieldServer;
  target: FieldServer;
  line?: Line;
  /** Roughly how long it takes against the others: the budget is shared out by it. */
  weight: number;
}

/** A copy without end, cut off when its rate is known. */
export interface RateCell extends Common {
  kind: "rate";
  /** Phases of the same length, long enough to settle; where there are several, the source has a pace for each. */
  phases: number;
}

/** A copy that must end, with every block written once. */
export interface WholeCell extends Common {
  kind: "whole";
  sizeBytes: number;
  /** Of the target, when it is larger. */
  targetBytes?: number;
  /** Of the engine. */
  flushTimeoutMs?: number;
  checkpointIntervalMs?: number;
  maxBytesPerSecond?: number;
}

/** Several copies on one engine. */
export interface ManyCell extends Common {
  kind: "many";
  copies: number;
  /** At once; 1: one after the other. */
  atOnce: number;
  bytesEach: number;
  /** What is held against what: the last copy against the first, or all against one large copy. */
  against: "first" | "one";
}

export type FieldCell = RateCell | WholeCell | ManyCell;

const near: FieldServer = { paces: [{}] };
const vddk = (pace: Pace = {}): Pace => ({ latencyMs: 5, parallel: 4, ...pace });

function rate(name: string, source: FieldServer, more: Partial<RateCell> = {}): RateCell {
  return {
    kind: "rate",
    name: `field/${name}`,
    source,
    target: near,
    phases: 1,
    weight: 45,
    ...more,
  };
}

function matrix(): RateCell[] {
  const cells: RateCell[] = [];
  for (const parallel of [1, 2, 4, 16])
    for (const latencyMs of [1, 5, 20])
      cells.push(rate(`${parallel}-parallel/${latencyMs}ms`, { paces: [{ latencyMs, parallel }] }));
  return cells;
}

function sources(): RateCell[] {
  const capped = vddk({ rate: 100 * MiB, totalRate: 400 * MiB });
  const changing = (before: Pace, between: Pace): FieldServer => ({
    paces: [before, between, before],
  });
  const change = { phases: 3, weight: 100 };
  return [
    rate("open/1s", { paces: [capped], openMs: 1000 }),
    rate("open/4s", { paces: [capped], openMs: 4000 }, { weight: 80 }),
    rate("cap/connection", { paces: [vddk({ rate: 100 * MiB })] }),
    rate("cap/total", { paces: [vddk({ totalRate: 200 * MiB })] }),
    rate("cap/both", { paces: [capped] }),
    rate("refused", { paces: [vddk({ rate: 100 * MiB })], clients: 2 }),
    rate("jitter", { paces: [vddk()], jitter: 60 }),
    rate("quick-first", { paces: [vddk({ latencyMs: 20 })], firstUs: 50 }),
    rate("change/rate", changing(capped, { ...capped, totalRate: 100 * MiB }), change),
    rate("change/latency", changing(vddk(), vddk({ latencyMs: 20, parallel: 2 })), change),
  ];
}

function lines(): RateCell[] {
  const source: FieldServer = { paces: [{ latencyMs: 1 }] };
  const cells: RateCell[] = [];
  for (const roundTripMs of [50, 100])
    for (const gigabits of [1, 10])
      cells.push(
        rate(`line/${roundTripMs}ms/${gigabits}gbit`, source, {
          line: { roundTripMs, rate: gigabits * gigabit },
        }),
      );
  return cells;
}

function targets(): FieldCell[] {
  const source: FieldServer = { paces: [{ latencyMs: 1 }] };
  const whole = (name: string, target: FieldServer, more: Partial<WholeCell>): WholeCell => ({
    ...{
      kind: "whole",
      name: `field/${name}`,
      source,
      target,
      sizeBytes: GiB,
      weight: 45,
      ...more,
    },
  });
  // The source is ten times as fast as the disk, and a checkpoint is due twenty times within the flush limit.
  const writeBack = (megabytes: number, cacheBytes: number, sizeBytes: number) =>
    whole(
      `write-back/${megabytes}`,
      { paces: [{}], cacheBytes, drainRate: megabytes * 1_000_000 },
      {
        ...{ sizeBytes, flushTimeoutMs: 8000, checkpointIntervalMs: 400 },
        source: { paces: [{ latencyMs: 1, totalRate: 10_000_000 * megabytes }] },
      },
    );
  // Its last block is not whole, and the disk ends in the middle of a sector pair.
  const unaligned = { sizeBytes: 256 * MiB + 3 * 4096 + 512, targetBytes: 256 * MiB + 64 * 1024 };
  const strict: FieldServer = { paces: [{}], minimumBlockBytes: 64 * 1024 };
  return [
    // Its cache alone takes five times the flush limit, and half of it.
    writeBack(20, 800 * MiB, 900 * MiB),
    writeBack(100, 400 * MiB, GiB),
    whole("minimum-block", strict, unaligned),
    whole("minimum-block/max-rate", strict, { ...unaligned, maxBytesPerSecond: 64 * MiB }),
    rate("one-client", { paces: [{ latencyMs: 1 }] }, { target: { paces: [{}], clients: 1 } }),
  ];
}

function many(): ManyCell[] {
  const common = {
    kind: "many" as const,
    ...{ source: { paces: [vddk()] }, target: near, weight: 45 },
  };
  return [
    {
      ...{ ...common, name: "field/many/sixteen", copies: 16, atOnce: 1, bytesEach: 256 * MiB },
      against: "first",
    },
    {
      ...{ ...common, name: "field/many/list-of-20", copies: 20, atOnce: 2, bytesEach: 2 * GiB },
      against: "one",
      weight: 100,
    },
  ];
}

const quick = [
  "field/1-parallel/20ms",
  "field/4-parallel/5ms",
  "field/cap/both",
  "field/minimum-block/max-rate",
  "field/many/sixteen",
];

export function listFieldCells(complete: boolean, only: RegExp | undefined): FieldCell[] {
  const cells = [...matrix(), ...sources(), ...lines(), ...targets(), ...many()];
  if (only) return cells.filter(({ name }) => only.test(name));
  return complete ? cells : cells.filter(({ name }) => quick.includes(name));
}
