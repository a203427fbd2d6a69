/** What a preflight found, for people: the findings, the plan, the verdict. */
import type { Preflight } from "../migration/check/check.ts";
import type { Finding } from "../migration/check/finding.ts";
import type { DiskForecast } from "../migration/check/plan.ts";
import { counted, formatBytes, formatDuration } from "../text.ts";
import { table } from "./table.ts";

/** Several lines, the last with a line break: findings, plan, verdict. */
export function preflightText({ findings, disks, estimate }: Preflight): string {
  const lines = findings.map(findingText).join("");
  const problems = findings.filter(({ level }) => level === "problem").length;
  const warnings = findings.filter(({ level }) => level === "warning").length;
  const noted = warnings === 0 ? "" : `, ${counted(warnings, "warning")}`;
  const verdict =
    problems === 0
      ? `A run would start${noted}.`
      : `A run would not start: ${counted(problems, "problem")}${noted}.`;
  const time = estimate
    ? `Expected time: ${formatDuration(estimate.seconds)}, as in ${counted(estimate.runs, "past run")} of this kind.\n`
    : disks.length > 0
      ? "Expected time: not known before a first run of this kind.\n"
      : "";
  const plan = disks.length === 0 ? "" : `\n${planTable(disks)}${time}`;
  return `${lines}${plan}\n${verdict}\n`;
}

const levelWidth = "problem".length;
const areaWidth = "change-ids".length;

function findingText({ level, area, message, remedy, code }: Finding): string {
  const text = message.replaceAll(/\s+/g, " ");
  const shown = code === undefined ? text : `${text} [${code}]`;
  const line = `${level.padEnd(levelWidth)}  ${area.padEnd(areaWidth)}  ${shown}\n`;
  if (remedy === undefined) return line;
  return `${line}${" ".repeat(levelWidth + areaWidth + 4)}fix: ${remedy}\n`;
}

function planTable(disks: readonly DiskForecast[]): string {
  const rows = disks.map((disk) => [
    disk.disk_id,
    disk.target,
    disk.type,
    bytesText(disk),
    disk.reason,
  ]);
  return table(["disk", "target", "copy", "bytes", "why"], rows);
}

function bytesText({ type, bytes_at_most, usual_bytes }: DiskForecast): string {
  if (bytes_at_most !== undefined) {
    const part = type === "full" ? ", what is allocated of it" : "";
    return `at most ${formatBytes(bytes_at_most)}${part}`;
  }
  const usual = usual_bytes === undefined ? "" : `, usually ${formatBytes(usual_bytes)}`;
  return `known after the snapshot${usual}`;
}
