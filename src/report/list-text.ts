/** The end of a list of VMs, for people and as the one document of `--json`. */
import { MigratekitError, messageOf } from "../errors.ts";
import { redact } from "../logger.ts";
import { copiedBytes } from "../migration/cycle/summary.ts";
import { exitCodeOf, type VmResult } from "../migration/list/list.ts";
import { counted, formatBytes, formatDuration } from "../text.ts";
import { errorDocument } from "./json/json.ts";
import { table } from "./table.ts";

/** The document of `--json`: names and units are an interface. Durations are milliseconds. */
export function listDocument(results: readonly VmResult[], durationMs: number) {
  const count = (status: VmResult["status"]) => results.filter((r) => r.status === status).length;
  const completed = count("completed");
  return {
    status: completed === results.length ? "completed" : "failed",
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
      ...(result.summary === undefined ? {} : { summary: result.summary }),
    })),
  };
}

/** A row for each VM; cause and remedy of each failure under it; how many of each at the end. */
export function listText(results: readonly VmResult[], durationMs: number): string {
  const rows = results.map(({ vm, status, summary, error, durationMs: ms }) => [
    vm.name,
    status === "failed" ? `failed [${errorDocument(error).code}]` : status.replace("_", " "),
    summary?.sync_type ?? "",
    summary === undefined ? "" : `${summary.disks.length}`,
    summary === undefined ? "" : formatBytes(copiedBytes(summary)),
    status === "not_started" ? "" : formatDuration(ms / 1000),
  ]);
  const failures = results.filter(({ status }) => status === "failed").map(failureText);
  const completed = results.filter(({ status }) => status === "completed").length;
  return redact(
    `${table(["VM", "ending", "sync", "disks", "copied", "time"], rows)}${failures.join("")}` +
      `${completed} of ${counted(results.length, "VM")} completed in ${formatDuration(durationMs / 1000)}\n`,
  );
}

function failureText({ vm, error }: VmResult): string {
  if (!(error instanceof MigratekitError)) return `${vm.name}: [bug] ${messageOf(error)}\n`;
  return `${vm.name} [${error.code}]: ${error.message}\n  fix: ${error.remedy}\n`;
}
