/** The end of a list of VMs, for people and as the one document of `--json`. */
import type { NextStep } from "../ending.ts";
import { exitCodes, MigratekitError, messageOf } from "../errors.ts";
import { redact } from "../logger.ts";
import { exitCodeOf, type VmResult } from "../migration/list/list.ts";
import { counted, formatBytes, formatDuration } from "../text.ts";
import { nextLine } from "./ending/text.ts";
import { errorDocument } from "./json/json.ts";
import { table } from "./table.ts";

/** The document of `--json`: names and units are an interface. Durations are milliseconds. */
export function listDocument(results: readonly VmResult[], durationMs: number) {
  const count = (status: VmResult["status"]) => results.filter((r) => r.status === status).length;
  const completed = count("completed");
  return {
    status: completed === results.length ? "completed" : "failed",
    exit_code: codeToExitWith(results),
    vm_count: results.length,
    completed_count: completed,
    failed_count: count("failed"),
    duration_ms: Math.round(durationMs),
    vms: results.map((result) => ({
      name: result.vm.name,
      vmware_path: result.vm.config.vmwarePath,
      ...(result.vm.config.jobId === undefined ? {} : { job_id: result.vm.config.jobId }),
      status: result.status,
      exit_code: exitCodeOf(result),
      duration_ms: result.durationMs,
      ...(result.error === undefined ? {} : { error: errorDocument(result.error) }),
      ...(result.ending?.run_id === undefined ? {} : { summary: result.ending }),
    })),
  };
}

/** A row for each VM; cause and remedy of each failure under it; how many of each at the end. */
export function listText(
  results: readonly VmResult[],
  durationMs: number,
  next: readonly NextStep[],
): string {
  const rows = results.map(({ vm, status, ending, error, durationMs: ms }) => [
    vm.name,
    status === "failed" ? `failed [${errorDocument(error).code}]` : status.replace("_", " "),
    ending?.sync_type ?? "",
    ending?.disks === undefined ? "" : `${ending.disks.length}`,
    ...bytesOf(ending),
    status === "not_started" ? "" : formatDuration(ms / 1000),
  ]);
  const failures = results.filter(({ status }) => status === "failed").map(failureText);
  const completed = results.filter(({ status }) => status === "completed").length;
  return redact(
    `${table(["VM", "ending", "sync", "disks", ...words, "time"], rows)}${failures.join("")}` +
      `${completed} of ${counted(results.length, "VM")} completed in ${formatDuration(durationMs / 1000)}\n` +
      next.map((step) => `${nextLine(step)}\n`).join(""),
  );
}

/** That of the process: a signal's, else the first in the list's order that failed. */
function codeToExitWith(results: readonly VmResult[]): number {
  const codes = results.map(exitCodeOf).filter((code) => code !== exitCodes.success);
  return codes.find((code) => code > 128) ?? codes[0] ?? exitCodes.success;
}

const words = ["planned", "read", "written", "zeroed", "unchanged"] as const;

function bytesOf(ending: VmResult["ending"]): string[] {
  const total = ending?.total;
  return words.map((word) => (total === undefined ? "" : formatBytes(total[`${word}_bytes`])));
}

function failureText({ vm, error }: VmResult): string {
  if (!(error instanceof MigratekitError)) return `${vm.name}: [bug] ${messageOf(error)}\n`;
  return `${vm.name} [${error.code}]: ${error.message}\n  fix: ${error.remedy}\n`;
}
