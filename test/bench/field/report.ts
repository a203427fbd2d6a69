/** The field as tables in Markdown. */
import { times } from "../claims.ts";
import type { ContenderName } from "../results.ts";
import { section } from "../tables.ts";
import type { FieldResult, RateResult } from "./results.ts";

const MiB = 2 ** 20;

export function fieldTables(results: FieldResult[]): string {
  return [
    rateTable(results.filter(({ kind }) => kind === "rate") as RateResult[]),
    wholeTable(results),
    manyTable(results),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

function rateTable(results: RateResult[]): string {
  const columns = [
    ...["Source, target or line", "MiB/s", "best fixed", "ratio", "nbdcopy, best", "ratio"],
    ...["code before", "ratio", "settled", "connections opened, refused"],
  ];
  const rows = results.flatMap((result) => {
    const of = (name: ContenderName) => result.contenders.find((entry) => entry.name === name);
    const ours = of("migratekit");
    return (ours?.rates ?? []).map((rate, phase) => {
      const beside = (name: ContenderName) => {
        const theirs = of(name)?.rates[phase];
        return theirs === undefined ? ["–", "–"] : [mebibytes(theirs), times(rate / theirs)];
      };
      const settled = ours?.settledMs?.[phase];
      return [
        `${result.name.replace("field/", "")}${phase > 0 ? `, phase ${phase + 1}` : ""}`,
        ...[mebibytes(rate), ...beside("migratekit-fixed"), ...beside("nbdcopy")],
        ...beside("migratekit-before"),
        typeof settled === "number" ? `${(settled / 1000).toFixed(1)} s` : "not",
        phase > 0 ? "" : `${ours?.opened}, ${ours?.refused}`,
      ];
    });
  });
  return rows.length === 0 ? "" : section("The field", columns, rows);
}

function wholeTable(results: FieldResult[]): string {
  const rows = results.flatMap((result) =>
    result.kind !== "whole"
      ? []
      : result.contenders.map(({ name, wallMs, dirtyBytes, flushes, verdict }) => [
          ...[result.name.replace("field/", ""), name, `${(wallMs / 1000).toFixed(1)} s`],
          ...[mebibytes(dirtyBytes), String(flushes), String(verdict.twice)],
        ]),
  );
  const columns = ["Target", "", "time", "MiB in its cache at most", "flushes", "blocks twice"];
  return rows.length === 0 ? "" : section("Targets in the field", columns, rows);
}

function manyTable(results: FieldResult[]): string {
  const rows = results.flatMap((result) =>
    result.kind !== "many"
      ? []
      : result.contenders.map(({ name, eachMs, rate, rateOfOne }) => [
          ...[result.name.replace("field/", ""), name],
          ...[eachMs[0]!, eachMs.at(-1)!].map((ms) => `${(ms / 1000).toFixed(2)} s`),
          ...[mebibytes(rate), rateOfOne === undefined ? "–" : mebibytes(rateOfOne)],
        ]),
  );
  const columns = ["Copies on one engine", "", "first", "last", "MiB/s", "MiB/s of one large one"];
  return rows.length === 0 ? "" : section("Several copies", columns, rows);
}

function mebibytes(bytes: number): string {
  return (bytes / MiB).toFixed(0);
}
