import { exitCodes, MigratekitError } from "../errors.ts";
import { endpointText } from "../migration/vm/site.ts";
import { formatBytes, formatDuration, formatRate } from "../progress/format.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson, shown, sparkline, table, terminalColumns } from "../report/output.ts";
import { isVmLocked } from "../state/lock/lock.ts";
import type { RunRecord } from "../state/run-record.ts";
import type { RunStore } from "../state/runs.ts";
import { State } from "../state/state.ts";
import { normalEndpoint, type VmIdentity } from "../state/vm-identity.ts";

/** `migratekit history`: past runs, from the state directory alone. */
export async function run({ config }: CommandContext): Promise<number> {
  using state = State.openExisting(config.stateDir);
  const vms = state?.listVms().filter((vm) => isWanted(vm, config)) ?? [];
  if (state === undefined || vms.length === 0) {
    const what = config.vmwarePath ?? "any VM";
    throw new MigratekitError("usage", `${config.stateDir} knows of no run of ${what}`, {
      remedy: "Check --state-dir, --vmware-path and --vmware-endpoint.",
    });
  }
  const found = vms.map((vm) => ({ vm, runs: listRuns(state.runs, vm, config) }));
  if (config.json) printJson({ vms: found.map(({ vm, runs }) => ({ ...vm, runs })) });
  else process.stdout.write(found.map(({ vm, runs }) => historyText(vm, runs)).join("\n"));
  return exitCodes.success;
}

/** A run whose process is gone says `running` until the next one cleans up after it. */
function listRuns(store: RunStore, vm: VmIdentity, config: CommandContext["config"]): RunRecord[] {
  const holder = isVmLocked(config.stateDir, vm.instanceUuid);
  const dead = new Set(store.deadRuns(vm, holder).map((run) => run.runId));
  return store
    .listRuns(vm, config.limit)
    .map((run) => (dead.has(run.runId) ? { ...run, status: "died" as const } : run));
}

function isWanted(vm: VmIdentity, config: CommandContext["config"]): boolean {
  if (config.vmwarePath !== undefined && config.vmwarePath !== vm.vmPath) return false;
  return (
    config.vmwareEndpoint === undefined ||
    normalEndpoint(endpointText(config)) === normalEndpoint(vm.endpoint)
  );
}

const headings = [
  "start (UTC)",
  "command",
  "sync",
  "ending",
  "planned",
  "copied",
  "time",
  "rate",
  "why",
];

/** Newest first; the sparkline reads from the oldest run to the newest. */
function historyText(vm: VmIdentity, runs: readonly RunRecord[]): string {
  const columns = terminalColumns();
  const title = `${shown(vm.vmPath)} at ${vm.endpoint} (${vm.instanceUuid})`;
  const rows = runs.map(runRow);
  return `${title}\n${table(headings, rows, columns)}${trendText(runs, columns ?? 80)}`;
}

function runRow(run: RunRecord): string[] {
  const copied = sum(run, "copiedBytes");
  const seconds = (run.durationMs ?? 0) / 1000;
  const some = run.disks.length > 0;
  return [
    run.startedAt.slice(0, 19).replace("T", " "),
    run.command,
    syncTypeText(run),
    run.errorCode ? `${run.status} [${run.errorCode}]` : run.status,
    some ? formatBytes(sum(run, "plannedBytes")) : "",
    some ? formatBytes(copied) : "",
    run.durationMs === undefined ? "" : formatDuration(seconds),
    some && seconds > 0 ? formatRate(copied / seconds) : "",
    run.message ?? run.disks[0]?.reason ?? "",
  ];
}

/** How much changed from run to run: what the next one, and the last one, will take. */
function trendText(runs: readonly RunRecord[], columns: number): string {
  const deltas = runs
    .filter((run) => run.status === "completed" && syncTypeText(run) === "incremental")
    .map((run) => sum(run, "plannedBytes"))
    .reverse();
  if (deltas.length < 2) return "";
  const label = `changed (up to ${formatBytes(Math.max(...deltas))}): `;
  const room = Math.max(10, columns - label.length);
  return `${label}${sparkline(deltas.slice(-room))}\n`;
}

function sum(run: RunRecord, field: "copiedBytes" | "plannedBytes"): number {
  return run.disks.reduce((total, disk) => total + disk[field], 0);
}

function syncTypeText(run: RunRecord): string {
  if (run.disks.length === 0) return "";
  const full = run.disks.some((disk) => disk.syncType === "full");
  const resumed = run.disks.some((disk) => disk.resumed);
  return `${full ? "full" : "incremental"}${resumed ? ", resumed" : ""}`;
}
