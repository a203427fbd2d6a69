import { exitCodes, MigratekitError } from "../errors.ts";
import { namedVms } from "../migration/known/named.ts";
import type { CommandContext } from "../report/context.ts";
import { historyText } from "../report/history-text.ts";
import { historyDocument } from "../report/json/history.ts";
import { printJson } from "../report/json/json.ts";
import { sheetOf } from "../report/table.ts";
import { isVmLocked } from "../state/lock/lock.ts";
import type { RunRecord } from "../state/run-record.ts";
import type { RunStore } from "../state/runs.ts";
import { State } from "../state/state.ts";
import type { VmIdentity } from "../state/vm-identity.ts";

/** `migratekit history`: past runs, from the state directory alone. */
export async function run({ config }: CommandContext): Promise<number> {
  using state = State.openExisting(config.stateDir);
  const vms = state ? namedVms(state, config) : [];
  if (state === undefined || vms.length === 0) {
    const what = config.vmwarePath ?? "any VM";
    throw new MigratekitError("usage", `${config.stateDir} knows of no run of ${what}`, {
      remedy: "Check --state-dir, --vmware-path and --vmware-endpoint.",
    });
  }
  const found = vms.map((vm) => ({
    ...vm,
    cutOver: state.readCutOver(vm),
    conversion: state.conversions.read(vm),
    runs: listRuns(state.runs, vm, config),
  }));
  if (config.json) printJson(historyDocument(found));
  else process.stdout.write(found.map((vm) => historyText(vm, sheetOf(config))).join("\n"));
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
