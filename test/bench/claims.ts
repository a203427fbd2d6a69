/** What issue and README claim of the engine, each with the figure of this run. */
import { fieldClaims } from "./field/claims.ts";
import {
  type BenchResults,
  type CellResult,
  type ContenderName,
  contender,
  median,
  speedup,
} from "./results.ts";

export interface Claim {
  text: string;
  measured: string;
  met: boolean;
}

const MiB = 2 ** 20;

/** Claims that the cells of this run can tell something about. */
export function claims(results: BenchResults): Claim[] {
  const full = results.cells.filter(({ group }) => group === "full");
  const tls = results.cells.filter(({ group }) => group === "tls");
  const at = (shape: string, latencyMs: number) =>
    results.cells.filter((cell) => cell.shape === shape && cell.latencyMs === latencyMs);
  const changes = (latencyMs: number) => [
    ...at("mixed", latencyMs),
    ...at("small", latencyMs),
    ...at("many", latencyMs),
  ];
  const slowSingle = full.filter((cell) => cell.latencyMs === 10 && cell.connections === "one");
  return [
    lowest("Full copy: never slower than nbdcopy's best settings", full, "nbdcopy", 1),
    middle("Full copy: at least 1.15 × nbdcopy's best in the median over the matrix", full, 1.15),
    lowest("Full copy: at least 1.4 × qemu-img's best", full, "qemu-img", 1.4),
    lowest(
      "Full copy: at least 2.5 × nbdcopy as it comes, 10 ms, one connection",
      ...([slowSingle, "nbdcopy-default", 2.5] as const),
    ),
    serial("Changes: at least 1.3 × the serial loop at 0 ms", changes(0), 1.3),
    serial("Changes: at least 10 × the serial loop at 2 ms", changes(2), 10),
    serial("Changes: at least 20 × the serial loop at 10 ms", changes(10), 20),
    serial("4000 × 64 KiB: at least 20 × the serial loop at 2 ms", at("small", 2), 20),
    adaptive(full),
    lowest(
      "TLS of its own: at least 1.4 × as fast as through a pair of stunnels",
      tls,
      "migratekit-stunnel",
      1.4,
    ),
    lowest("TLS: at least 1.2 × nbdcopy's best over the same TLS", tls, "nbdcopy", 1.2),
    lowest("TLS: at least 1.4 × qemu-img over the same TLS", tls, "qemu-img", 1.4),
    lowest("Not below 0.97 × the code before", results.cells, "migratekit-before", 0.97),
    floors(results),
    clientCpu(full),
    memory(results),
    flatCost(results),
    freshWrites(results, full),
    ...fieldClaims(results.field),
  ].filter((claim) => claim !== undefined);
}

type Measured = { cell: CellResult; value: number };

export interface Value {
  name: string;
  value: number;
}

function ratios(cells: CellResult[], value: (cell: CellResult) => number | undefined): Measured[] {
  return cells
    .map((cell) => ({ cell, value: value(cell) }))
    .filter((entry): entry is Measured => entry.value !== undefined)
    .sort((a, b) => a.value - b.value);
}

function lowest(
  text: string,
  cells: CellResult[],
  theirs: ContenderName,
  wanted: number,
): Claim | undefined {
  return worstOf(text, named(ratios(cells, (cell) => speedup(cell, theirs))), wanted);
}

function named(measured: Measured[]): Value[] {
  return measured.map(({ cell: { name }, value }) => ({ name, value }));
}

/** The lowest of the values; undefined where there are none. */
export function worstOf(text: string, values: Value[], wanted: number): Claim | undefined {
  const measured = values.toSorted((a, b) => a.value - b.value);
  const worst = measured[0];
  if (!worst) return undefined;
  const below = measured.filter(({ value }) => value < wanted).length;
  const where = below > 1 ? `, below in ${below} of ${measured.length}` : "";
  return {
    text,
    measured: `${times(worst.value)} at worst (${worst.name})${where}`,
    met: worst.value >= wanted,
  };
}

function middle(text: string, cells: CellResult[], wanted: number): Claim | undefined {
  const values = ratios(cells, (cell) => speedup(cell, "nbdcopy")).map(({ value }) => value);
  if (values.length === 0) return undefined;
  const value = median(values);
  return { text, measured: times(value), met: value >= wanted };
}

function serial(text: string, cells: CellResult[], wanted: number): Claim | undefined {
  return worstOf(text, named(ratios(cells, (cell) => speedup(cell, "serial"))), wanted);
}

function adaptive(cells: CellResult[]): Claim | undefined {
  const text = "Automatic settings: within 10 % of the best fixed ones in every cell";
  return worstOf(text, named(ratios(cells, (cell) => speedup(cell, "migratekit-fixed"))), 0.9);
}

function floors({ cells, floors: all }: BenchResults): Claim | undefined {
  const measured = all.flatMap((floor) => {
    const cell = cells.find(({ name }) => name === floor.name);
    const ours = cell && contender(cell, "migratekit");
    return cell && ours ? [{ cell, value: floor.floorMs / ours.medianMs }] : [];
  });
  measured.sort((a, b) => a.value - b.value);
  const worst = measured[0];
  if (!worst) return undefined;
  return {
    text: "At 0 ms: at least 85 % of what the servers and cores allow",
    measured: `${percent(worst.value)} at worst (${worst.cell.name})`,
    met: worst.value >= 0.85,
  };
}

function clientCpu(cells: CellResult[]): Claim | undefined {
  const measured = ratios(cells, (cell) => {
    const ours = contender(cell, "migratekit");
    const theirs = contender(cell, "nbdcopy");
    return ours && theirs ? ours.cpuMsMedian / theirs.cpuMsMedian : undefined;
  });
  if (measured.length === 0) return undefined;
  const value = median(measured.map((entry) => entry.value));
  const worst = measured.at(-1)!;
  return {
    text: "CPU time of the copying process: at most 0.75 × nbdcopy's best, median over the matrix",
    measured: `${times(value)}; ${times(worst.value)} at worst (${worst.cell.name})`,
    met: value <= 0.75,
  };
}

function memory({ cells, extentScale }: BenchResults): Claim | undefined {
  const peaks = [
    ...cells.flatMap((cell) =>
      (contender(cell, "migratekit")?.samples ?? []).map(({ peakBytes }) => peakBytes),
    ),
    ...extentScale.map(({ peakBytes }) => peakBytes),
  ];
  if (peaks.length === 0) return undefined;
  const peak = Math.max(...peaks);
  return {
    text: "Memory: at most 64 MiB above idle, whatever is copied",
    measured: `${Math.round(peak / MiB)} MiB at most`,
    met: peak <= 64 * MiB,
  };
}

/** The fixed cost of starting and ending is taken out: what each further extent costs. */
function flatCost({ extentScale }: BenchResults): Claim | undefined {
  const costs = extentScale.slice(1).map((entry, i) => {
    const before = extentScale[i]!;
    return (1000 * (entry.medianMs - before.medianMs)) / (entry.extents - before.extents);
  });
  const last = extentScale.at(-1);
  if (!last || costs.length === 0) return undefined;
  const growth = Math.max(...costs.slice(1), costs[0]!) / costs[0]!;
  return {
    text: `Each further extent costs the same up to ${last.extents.toLocaleString("en")}`,
    measured: `${costs.map((cost) => cost.toFixed(1)).join(", ")} µs`,
    met: growth <= 1.25,
  };
}

function freshWrites({ fullDisk }: BenchResults, cells: CellResult[]): Claim | undefined {
  const measured = ratios(cells, (cell) => {
    const written = contender(cell, "migratekit")?.engine?.writtenBytes;
    return written === undefined ? undefined : written / fullDisk.nonZeroBytes;
  });
  const worst = measured.at(-1);
  if (!worst) return undefined;
  return {
    text: "Fresh target: written at most 1.01 × what is not zero on the source",
    measured: `${worst.value.toFixed(4)} × at most`,
    met: worst.value <= 1.01,
  };
}

export function times(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ×`;
}

export function percent(value: number): string {
  return `${Math.round(100 * value)} %`;
}
