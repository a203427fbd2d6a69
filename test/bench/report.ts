/** The results as tables in Markdown, and docs/performance/measurements.md with its plots. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { charts } from "./charts.ts";
import { claims, percent, times } from "./claims.ts";
import { fieldTables } from "./field/report.ts";
import {
  type BenchResults,
  type CellResult,
  type ContenderName,
  contender,
  speedup,
} from "./results.ts";
import { section } from "./tables.ts";

const GiB = 2 ** 30;
const MiB = 2 ** 20;
const begin = "<!-- What follows is written by `npm run bench`. -->";
const end = "<!-- Here it ends. -->";

/** Replaces what an earlier run wrote in measurements.md; what people wrote around it stays. */
export async function writeDocs(folder: string, results: BenchResults): Promise<void> {
  const path = join(folder, "performance/measurements.md");
  const old = await readFile(path, "utf8").catch(() => `# Measurements\n\n${begin}\n${end}\n`);
  const from = old.indexOf(begin);
  const to = old.indexOf(end);
  if (from === -1 || to < from) throw new Error(`${path} has lost the lines "${begin}", "${end}"`);
  const plots = charts(results);
  await mkdir(join(folder, "performance"), { recursive: true });
  for (const { file, svg } of plots) await writeFile(join(folder, "performance", file), svg);
  const images = plots.map(({ file, title }) => `![${title}](${file})`).join("\n\n");
  const written = `${begin}\n\n${renderReport(results)}\n## Plots\n\n${images}\n\n`;
  await writeFile(path, old.slice(0, from) + written + old.slice(to));
}

export function renderReport(results: BenchResults): string {
  return [
    heading(results),
    claimTable(results),
    fullTable(results),
    tlsTable(results),
    incrementalTable(results),
    fieldTables(results.field),
    floorTable(results),
    extentTable(results),
    settingsTable(results),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

function heading(results: BenchResults): string {
  const { machine, fullDisk, startedAt, durationMs, pairs, notes } = results;
  const facts = Object.entries(machine).map(([name, value]) => `${name} ${value}`);
  const disk =
    fullDisk.sizeBytes === 0
      ? ""
      : `Full copy: a sparse disk of ${gibibytes(fullDisk.sizeBytes)}, ${gibibytes(fullDisk.allocatedBytes)} of it allocated, ${gibibytes(fullDisk.nonZeroBytes)} not zero.\n`;
  const remarks = notes.map((note) => `**Note:** ${note}.\n`).join("\n");
  return (
    `## Measured on ${startedAt.slice(0, 10)}\n\n${facts.join(", ")}. ` +
    `Scale: ${results.scale}; at least ${pairs} rounds a cell; ${Math.round(durationMs / 60_000)} minutes.\n` +
    `${disk}${remarks === "" ? "" : `\n${remarks}`}`
  );
}

function claimTable(results: BenchResults): string {
  const rows = claims(results).map(({ text, measured, met }) => [
    text,
    measured,
    met ? "yes" : "**no**",
  ]);
  return rows.length === 0 ? "" : section("Claims", ["Claim", "Measured", "Met"], rows);
}

function fullTable({ cells }: BenchResults): string {
  const columns = [
    ...["Source / target", "migratekit", "nbdcopy, best", "ratio", "qemu-img, best", "ratio"],
    ...[
      "auto to best fixed",
      "CPU s/GiB: migratekit",
      "nbdcopy",
      "qemu-img",
      "peak MiB: migratekit",
      "nbdcopy",
    ],
  ];
  const rows = cells
    .filter(({ group }) => group === "full")
    .map((cell) => [
      cell.name.replace("full/", ""),
      ...[time(cell, "migratekit"), time(cell, "nbdcopy"), ratio(cell, "nbdcopy")],
      ...[time(cell, "qemu-img"), ratio(cell, "qemu-img"), ratio(cell, "migratekit-fixed")],
      ...[cpu(cell, "migratekit"), cpu(cell, "nbdcopy"), cpu(cell, "qemu-img")],
      ...[peak(cell, "migratekit"), peak(cell, "nbdcopy")],
    ]);
  const table = rows.length === 0 ? "" : section("Full copy", columns, rows);
  const beside = (name: ContenderName, text: string) => {
    const found = cells.filter((cell) => cell.group === "full" && contender(cell, name));
    if (found.length === 0) return "";
    const figures = found.map(
      (cell) => `${cell.name.replace("full/", "")} ${time(cell, name)} (${ratio(cell, name)})`,
    );
    return `\n${text}: ${figures.join(", ")}.\n`;
  };
  const defaults = beside("nbdcopy-default", "nbdcopy with its default settings");
  return table + defaults + beside("serial", "A serial loop over the whole disk, 32 MiB chunks");
}

function tlsTable({ cells }: BenchResults): string {
  const columns = [
    ...[
      "Target",
      "migratekit",
      "through stunnel",
      "ratio",
      "nbdcopy, best",
      "ratio",
      "qemu-img",
      "ratio",
    ],
    ...["CPU s/GiB: migratekit", "nbdcopy", "qemu-img"],
  ];
  const rows = cells
    .filter(({ group }) => group === "tls")
    .map((cell) => [
      cell.name.replace("tls/", ""),
      time(cell, "migratekit"),
      ...(["migratekit-stunnel", "nbdcopy", "qemu-img"] as const).flatMap((name) => [
        ...[time(cell, name), ratio(cell, name)],
      ]),
      ...(["migratekit", "nbdcopy", "qemu-img"] as const).map((name) => cpu(cell, name)),
    ]);
  return rows.length === 0 ? "" : section("TLS of the server's own", columns, rows);
}

function incrementalTable({ cells }: BenchResults): string {
  const columns = [
    ...["Shape / source / target", "extents", "MiB", "migratekit", "one connection", "serial loop"],
    ...["ratio", "ratio, one connection", "CPU s/GiB", "serial loop", "peak MiB"],
  ];
  const rows = cells
    .filter(({ group }) => group === "incremental")
    .map((cell) => {
      const share = contender(cell, "serial")?.share ?? 1;
      return [
        ...[cell.name.replace("incremental/", ""), String(cell.extents)],
        ...[(cell.payloadBytes / MiB).toFixed(0), time(cell, "migratekit")],
        ...[time(cell, "migratekit-one"), `${time(cell, "serial")}${share < 1 ? " ¹" : ""}`],
        ...[ratio(cell, "serial"), ratio(cell, "serial", "migratekit-one")],
        ...[cpu(cell, "migratekit"), cpu(cell, "serial"), peak(cell, "migratekit")],
      ];
    });
  if (rows.length === 0) return "";
  const note =
    "¹ Run over every n-th extent and scaled up by bytes: a serial loop's cost is linear.\n";
  return `${section("Changed ranges", columns, rows)}\n${note}`;
}

function floorTable({ cells, floors }: BenchResults): string {
  const columns = [
    ...["Source / target", "migratekit", "source alone", "target alone", "both on these cores"],
    ...["of the floor", "bare sockets", "of bare sockets"],
  ];
  const rows = floors.flatMap((floor) => {
    const cell = cells.find(({ name }) => name === floor.name);
    const ours = cell && contender(cell, "migratekit");
    if (!ours) return [];
    const { sourceAloneMs, targetAloneMs, bothOnTheseCoresMs, floorMs, rawSocketMs } = floor;
    const all = [sourceAloneMs, targetAloneMs, bothOnTheseCoresMs].map(secondsOf);
    return [
      [
        ...[floor.name.replace("full/", ""), secondsOf(ours.medianMs), ...all],
        ...[percent(floorMs / ours.medianMs), secondsOf(rawSocketMs)],
        percent(rawSocketMs / ours.medianMs),
      ],
    ];
  });
  return rows.length === 0 ? "" : section("The floor", columns, rows);
}

function extentTable({ extentScale }: BenchResults): string {
  const rows = extentScale.map(({ extents, medianMs, peakBytes, samples }) => [
    ...[extents.toLocaleString("en"), secondsOf(medianMs)],
    ...[((1000 * medianMs) / extents).toFixed(1), (peakBytes / MiB).toFixed(0)],
    String(samples.length),
  ]);
  const columns = ["Extents of 4 KiB", "time", "µs each", "peak MiB above idle", "runs"];
  return rows.length === 0 ? "" : section("Number of extents", columns, rows);
}

function settingsTable({ cells }: BenchResults): string {
  const rows = cells
    .filter(({ group }) => group === "full")
    .map((cell) => {
      const auto = contender(cell, "migratekit")?.engine;
      const tried = (name: string) => `${cell.swept[name] ?? 0} tried`;
      return [
        cell.name.replace("full/", ""),
        auto ? `${auto.sourceConnections} and ${auto.targetConnections} connections` : "",
        `${contender(cell, "migratekit-fixed")?.settings ?? ""} (${tried("migratekit-fixed")})`,
        `${contender(cell, "nbdcopy")?.settings ?? ""} (${tried("nbdcopy")})`,
        `${contender(cell, "qemu-img")?.settings ?? ""} (${tried("qemu-img")})`,
      ];
    });
  const columns = ["Source / target", "auto chose", "best fixed", "nbdcopy", "qemu-img"];
  return rows.length === 0 ? "" : section("Settings that won", columns, rows);
}

function time(cell: CellResult, name: ContenderName): string {
  const found = contender(cell, name);
  return found ? secondsOf(found.medianMs) : "–";
}

function ratio(cell: CellResult, theirs: ContenderName, ours?: ContenderName): string {
  const value = speedup(cell, theirs, ours);
  return value === undefined ? "–" : times(value);
}

function cpu(cell: CellResult, name: ContenderName): string {
  const found = contender(cell, name);
  return found ? (found.cpuMsMedian / 1000 / (cell.payloadBytes / GiB)).toFixed(2) : "–";
}

function peak(cell: CellResult, name: ContenderName): string {
  const found = contender(cell, name);
  return found ? (found.peakBytesMedian / MiB).toFixed(0) : "–";
}

function secondsOf(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

function gibibytes(bytes: number): string {
  return `${(bytes / GiB).toFixed(2)} GiB`;
}
