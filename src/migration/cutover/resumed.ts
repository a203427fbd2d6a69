/** A cutover that another process began: its machine in CloudStack brought to life. */
import { MigratekitError } from "../../errors.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import type { ConversionSummary } from "../convert/convert.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import { planDeployment } from "../deploy/deploy.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import { deployOrGoBack } from "./deployment.ts";
import type { CutoverSummary } from "./summary.ts";

/** @throws as `deployOrGoBack`; MigratekitError `usage`, and then nothing was undone */
export async function goOn(held: HeldVm, left: StoredDeployment): Promise<CutoverSummary> {
  const { identity, state, logger } = held;
  const { instanceName, since, downSince } = left;
  logger.info(`going on with the cutover of ${since}: ${instanceName} in CloudStack`);
  const final = lastSync(held, left);
  const plan = await planDeployment(held);
  const conversion = state.conversions.read(identity)?.result as ConversionSummary["conversion"];
  const instance = await deployOrGoBack(held, plan);
  return {
    vm: final.vm,
    power_state: "poweredOff",
    forced: false,
    downtime_ms: downSince === undefined ? 0 : instance.downtime_ms,
    passes: [],
    final_sync: final,
    conversion,
    instance,
  };
}

/** As the history has it. */
function lastSync({ identity, state }: HeldVm, { runId }: StoredDeployment): CycleSummary {
  const run = state.runs.listRuns(identity, 500).find((each) => each.runId === runId);
  if (run?.ending === undefined) {
    throw new MigratekitError("state-unusable", `the history has no run ${runId} any more`, {
      remedy: "Go back with 'migratekit rollback', and cut over again.",
    });
  }
  const { next: _, ...ending } = run.ending;
  return {
    ...ending,
    sync_type: ending.sync_type ?? "incremental",
    quiesced: ending.quiesced ?? false,
  };
}
