/** The plots beside docs/performance/measurements.md. */
import {
  type BenchResults,
  type CellResult,
  type ContenderName,
  contender,
  speedup,
} from "./results.ts";
import { barChart, lineChart, type Series } from "./svg.ts";

const colours = {
  migratekit: "#1a7f37",
  "migratekit-one": "#6cc47f",
  nbdcopy: "#0969da",
  "qemu-img": "#bc4c00",
} as const;
const MiB = 2 ** 20;

export interface Chart {
  file: string;
  title: string;
  svg: string;
}

/** Only those that this run has figures for. */
export function charts(results: BenchResults): Chart[] {
  const full = results.cells.filter(({ group }) => group === "full");
  const changes = results.cells.filter(({ group }) => group === "incremental");
  const made: Chart[] = [];
  const add = (file: string, title: string, svg: string) => made.push({ file, title, svg });
  if (full.length > 0) {
    const throughput = "Full copy: allocated data copied a second";
    add(
      ...(["full-copy.svg", throughput] as const),
      bars(throughput, "MiB/s, more is better", full, (cell, name) => {
        const found = contender(cell, name);
        return found && cell.payloadBytes / MiB / (found.medianMs / 1000);
      }),
    );
    const cpu = "Full copy: CPU time of the copying process";
    add(
      ...(["full-copy-cpu.svg", cpu] as const),
      bars(cpu, "seconds per GiB, less is better", full, (cell, name) => {
        const found = contender(cell, name);
        return found && found.cpuMsMedian / 1000 / (cell.payloadBytes / 2 ** 30);
      }),
    );
  }
  if (changes.length > 0) {
    const title = "Changed ranges: times as fast as a serial loop";
    const series: Series[] = (["migratekit", "migratekit-one"] as const).map((name) => ({
      name: name === "migratekit" ? "several connections" : "one connection",
      colour: colours[name],
      values: changes.map((cell) => speedup(cell, "serial", name)),
    }));
    const groups = changes.map(({ name }) => name.replace("incremental/", ""));
    const chart = { title, unit: "×, logarithmic", groups, series, logarithmic: true };
    add("incremental.svg", title, barChart(chart));
  }
  if (results.extentScale.length > 1) {
    const title = "Cost and memory by number of extents";
    const counted = results.extentScale;
    const labels = counted.map(({ extents }) => extents.toLocaleString("en"));
    const series: Series[] = [
      {
        name: "µs per extent",
        colour: colours.migratekit,
        values: counted.map(({ medianMs, extents }) => (1000 * medianMs) / extents),
      },
      {
        name: "MiB above idle",
        colour: colours.nbdcopy,
        values: counted.map(({ peakBytes }) => peakBytes / MiB),
      },
    ];
    add("extents.svg", title, lineChart({ title, unit: "µs, MiB", labels, series }));
  }
  return made;
}

function bars(
  title: string,
  unit: string,
  cells: CellResult[],
  value: (cell: CellResult, name: ContenderName) => number | undefined,
): string {
  const series: Series[] = (["migratekit", "nbdcopy", "qemu-img"] as const).map((name) => ({
    name: name === "migratekit" ? name : `${name}, best`,
    colour: colours[name],
    values: cells.map((cell) => value(cell, name)),
  }));
  const groups = cells.map(({ name }) => name.replace("full/", ""));
  return barChart({ title, unit, groups, series });
}
