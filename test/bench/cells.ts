/** The matrix: which copies are measured. */
import type { Scale } from "./options.ts";
import type { TargetKind } from "./results.ts";

export type Shape = "full" | "tls" | "mixed" | "small" | "many";

export interface Cell {
  name: string;
  shape: Shape;
  latencyMs: number;
  connections: "one" | "several";
  connectionRate: number;
  target: TargetKind;
  /** Roughly how long it takes against the others: the budget is shared out by it. */
  weight: number;
}

const latenciesMs = [0, 2, 10];
const targets: TargetKind[] = ["nbd-server", "stunnel", "qemu-nbd"];
/** As VDDK gives a connection. */
const cappedRate = 150 * 1024 * 1024;
const cappedLatencyMs = 5;

const quick = [
  "full/0ms/several/nbd-server",
  "full/2ms/several/stunnel",
  "full/10ms/several/qemu-nbd",
  "full/10ms/one/nbd-server",
  "full/capped/several/nbd-server",
  "incremental/mixed/2ms/nbd-server",
  "incremental/small/2ms/nbd-server",
];

export function listCells(scale: Scale, only: RegExp | undefined): Cell[] {
  const cells = [...fullCells(), ...tlsCells(), ...incrementalCells()];
  if (only) return cells.filter(({ name }) => only.test(name));
  return scale.name === "complete" ? cells : cells.filter(({ name }) => quick.includes(name));
}

function fullCells(): Cell[] {
  const cells: Cell[] = [];
  for (const latencyMs of latenciesMs)
    for (const connections of ["one", "several"] as const)
      for (const target of targets)
        cells.push({
          name: `full/${latencyMs}ms/${connections}/${target}`,
          ...{ shape: "full", latencyMs, connections, connectionRate: 0, target, weight: 100 },
        });
  for (const target of targets)
    cells.push({
      name: `full/capped/several/${target}`,
      ...{ shape: "full", latencyMs: cappedLatencyMs, connections: "several" },
      ...{ connectionRate: cappedRate, target, weight: 140 },
    } as const);
  return cells;
}

function tlsCells(): Cell[] {
  return (["nbd-server", "qemu-nbd"] as const).map((target) => ({
    name: `tls/${target}`,
    ...{
      shape: "tls",
      latencyMs: 0,
      connections: "several",
      connectionRate: 0,
      target,
      weight: 100,
    },
  }));
}

function incrementalCells(): Cell[] {
  const cell = (shape: Shape, latencyMs: number, target: TargetKind, weight: number): Cell => ({
    name: `incremental/${shape}/${latencyMs}ms/${target}`,
    ...{ shape, latencyMs, connections: "several", connectionRate: 0, target, weight },
  });
  const cells: Cell[] = [];
  for (const shape of ["mixed", "small"] as const) {
    for (const latencyMs of latenciesMs) cells.push(cell(shape, latencyMs, "nbd-server", 60));
    for (const target of ["stunnel", "qemu-nbd"] as const) cells.push(cell(shape, 2, target, 60));
  }
  for (const latencyMs of latenciesMs) cells.push(cell("many", latencyMs, "nbd-server", 130));
  return cells;
}
