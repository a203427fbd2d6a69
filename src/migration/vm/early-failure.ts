import { randomUUID } from "node:crypto";
import { endpointText } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import { codeOf } from "../../interruption.ts";
import { State } from "../../state/state.ts";
import type { CycleContext } from "./held-vm.ts";
import { endOf, runStart } from "./run.ts";

/**
 * A run that ended before its VM was found and locked is part of that VM's history too: an operator
 * who looks there must see that nothing came through since. Where the VM is not known, or the state
 * is what failed, nothing is recorded; a mistake in the flags, another run at work and a cutover done are no failures.
 */
export function recordEarlyFailure(
  context: Pick<CycleContext, "config" | "logger">,
  error: unknown,
): void {
  const { config, logger } = context;
  if (
    ["usage", "locked", "cut-over", "converted", "state-unusable", "interrupted"].includes(
      codeOf(error),
    )
  )
    return;
  try {
    using state = State.openExisting(config.stateDir);
    const vm = state
      ?.listVmsAt({ endpoint: endpointText(config) })
      .findLast((known) => known.vmPath === config.vmwarePath);
    if (state === undefined || vm === undefined) return;
    const runId = state.runs.startRun(vm, runStart(config, randomUUID()));
    state.runs.finishRun(runId, endOf(error));
  } catch (failure) {
    logger.debug(`the failure is not in the history: ${messageOf(failure)}`);
  }
}
