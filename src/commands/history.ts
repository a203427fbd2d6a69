import { exitCodes, MigratekitError } from "../errors.ts";
import { endpointText } from "../migration/discover.ts";
import { formatBytes, formatDuration, formatRate } from "../progress/format.ts";
import { StateDatabase } from "../state/database.ts";
import type { RunRecord } from "../state/run-record.ts";
import { RunStore } from "../state/runs.ts";
import { listVms, normalEndpoint, type VmIdentity } from "../state/vm-identity.ts";
import type { CommandContext } from "./context.ts";
import { printJson, sparkline, table } from "./output.ts";

/** `migratekit history`: past runs, from the state directory alone. */
export async function run({ config }: CommandContext): Promise<number> {
  using state = StateDatabase.openExisting(config.stateDir);
  const vms = state ? listVms(state).filter((vm) => isWanted(vm, config)) : [];
  if (state === undefined || vms.length === 0) {
    const what = config.vmwarePath ?? "any VM";
    throw new MigratekitError("usage", `${config.stateDir} knows of no run of ${what}`, {
      remedy: "Check --state-dir, --vmware-path and --vmware-endpoint.",
    });
  }
  const store = new RunStore(state);
  const found = vms.map((vm) => ({ vm, runs: store.listRuns(vm, config.limit) }));
  if (config.json) printJson({ vms: found.map(({ vm, runs }) => ({ ...vm, runs })) });
  else process.stdout.write(found.map(({ vm, runs }) => historyText(vm, runs)).join("\n"));
  return exitCodes.success;
}

function isWanted(vm: VmIdentity, config: CommandContext["config"]): boolean {
  if (config.vmwarePath !== undefined && config.vmwarePath !== vm.vmPath) return false;
  return (
    config.vmwareEndpoint === undefined ||
    normalEndpoint(endpointText(config)) === normalEndpoint(vm.endpoint)
  );
}

/** Newest first; the sparkline reads from the oldest run to the newest. */
function historyText(vm: VmIdentity, runs: readonly RunRecord[]): string {
  const deltas = runs
    .filter((run) => run.status === "completed")
    .map((run) => sum(run, "copiedBytes"))
    .reverse();
  const rows = runs.map((run) => {
    const copied = sum(run, "copiedBytes");
    const seconds = (run.durationMs ?? 0) / 1000;
    return [
      run.startedAt.slice(0, 19).replace("T", " "),
      run.command,
      syncTypeText(run),
      run.errorCode ? `${run.status} (${run.errorCode})` : run.status,
      formatBytes(sum(run, "plannedBytes")),
      formatBytes(copied),
      run.durationMs === undefined ? "" : formatDuration(seconds),
      seconds > 0 ? formatRate(copied / seconds) : "",
      run.disks[0]?.reason ?? run.message ?? "",
    ];
  });
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
  const trend = deltas.length > 1 ? `copied: ${sparkline(deltas)}\n` : "";
  return `${vm.vmPath} at ${vm.endpoint} (${vm.instanceUuid})\n${table(headings, rows)}${trend}`;
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
