/** `migrate --vms FILE`: many VMs, some at a time; one that fails does not stop the others. */
import { exitCodes, MigratekitError, messageOf } from "../errors.ts";
import { addSecret, redact } from "../logger.ts";
import { mapLimited } from "../map-limited.ts";
import type { CycleSummary } from "../migration/cycle/summary.ts";
import { type ListedVm, readVmList } from "../migration/list/list.ts";
import { HostConnections } from "../migration/vm/host-connections.ts";
import type { SharedResources } from "../migration/vm/run.ts";
import { Engine } from "../nbd/copy-engine/copy-engine.ts";
import { formatBytes, formatDuration } from "../progress/format.ts";
import type { CommandContext } from "../report/context.ts";
import { ListProgress } from "../report/list-progress.ts";
import { errorDocument, printJson, table } from "../report/output.ts";
import { copiedBytes, migrateVm } from "../report/reported-cycle.ts";

interface VmResult {
  readonly vm: ListedVm;
  /** `not_started`: a signal came first. */
  readonly status: "completed" | "failed" | "interrupted" | "not_started";
  readonly durationMs: number;
  readonly summary?: CycleSummary;
  readonly error?: unknown;
}

/** Gives 0, or the code of the first VM in the list's order that failed. */
export async function migrateList(context: CommandContext, path: string): Promise<number> {
  const { config, view, logger } = context;
  const vms = readVmList(path, context.flags);
  for (const { config: one } of vms) addSecret(one.vmwarePassword?.reveal() ?? "");
  for (const warning of newWarnings(context, vms)) logger.warn(warning);
  using engine = new Engine({ maxBytesPerSecond: config.maxRate });
  const shared: SharedResources = {
    engine,
    hosts: new HostConnections(config.hostConnections, Math.min(config.parallelVms, vms.length)),
    targets: new Map(),
  };
  const progress = new ListProgress(view, vms.length);
  const startedMs = performance.now();
  const settled = await mapLimited(vms, config.parallelVms, (vm) =>
    migrateOne(context, vm, shared, progress),
  );
  view.stop();
  const results = settled.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
  const durationMs = performance.now() - startedMs;
  if (config.json) printJson(listDocument(results, durationMs));
  else process.stdout.write(listText(results, durationMs));
  return results.map(exitCodeOf).find((code) => code !== exitCodes.success) ?? exitCodes.success;
}

/** Those of a single VM repeat what the list's own say. */
function newWarnings({ config }: CommandContext, vms: readonly ListedVm[]): Set<string> {
  const all = new Set(vms.flatMap((vm) => vm.config.warnings));
  for (const known of config.warnings) all.delete(known);
  return all;
}

async function migrateOne(
  { logger: parent, signal }: CommandContext,
  vm: ListedVm,
  shared: SharedResources,
  progress: ListProgress,
): Promise<VmResult> {
  if (signal.aborted) return { vm, status: "not_started", durationMs: 0 };
  const logger = parent.child({ vm: vm.name });
  const startedMs = performance.now();
  const spent = () => Math.round(performance.now() - startedMs);
  try {
    const view = progress.viewOf(vm.name);
    const summary = await migrateVm({ config: vm.config, logger, view, signal }, shared);
    progress.end(vm.name, "completed");
    const copied = formatBytes(copiedBytes(summary));
    logger.info(`${vm.name}: completed, ${summary.sync_type}, ${copied} copied`);
    return { vm, status: "completed", summary, durationMs: spent() };
  } catch (error) {
    progress.end(vm.name, "failed");
    const status = signal.aborted ? "interrupted" : "failed";
    const { code, message } = errorDocument(error);
    logger.error({ code }, `${vm.name}: ${status}: ${redact(message)}`);
    // A bug's stack is all there is to go by.
    if (code === "bug" && status === "failed") logger.error({ error });
    return { vm, status, error, durationMs: spent() };
  }
}

function exitCodeOf({ status, error }: VmResult): number {
  if (status === "completed") return exitCodes.success;
  return error instanceof MigratekitError ? error.exitCode : exitCodes.bug;
}

/** The one document of `--json`. */
function listDocument(results: readonly VmResult[], durationMs: number) {
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
function listText(results: readonly VmResult[], durationMs: number): string {
  const rows = results.map(({ vm, status, summary, error, durationMs: ms }) => [
    vm.name,
    status === "failed" ? `failed [${errorDocument(error).code}]` : status.replace("_", " "),
    summary?.sync_type ?? "",
    summary === undefined ? "" : `${summary.disks.length}`,
    summary === undefined ? "" : formatBytes(copiedBytes(summary)),
    status === "not_started" ? "" : formatDuration(ms / 1000),
  ]);
  const failures = results
    .filter(({ status }) => status === "failed")
    .map(({ vm, error }) => failureText(vm, error));
  const completed = results.filter(({ status }) => status === "completed").length;
  return redact(
    `${table(["VM", "ending", "sync", "disks", "copied", "time"], rows)}${failures.join("")}` +
      `${completed} of ${results.length} VMs completed in ${formatDuration(durationMs / 1000)}\n`,
  );
}

function failureText(vm: ListedVm, error: unknown): string {
  if (!(error instanceof MigratekitError)) return `${vm.name}: [bug] ${messageOf(error)}\n`;
  return `${vm.name} [${error.code}]: ${error.message}\n  fix: ${error.remedy}\n`;
}
