/** A VM that was cut over: its volumes are another machine's disks now. */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { CutOver } from "../../state/cut-over.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";

/**
 * Refuses to write to the volumes of a VM that was cut over, or, with `--reopen`, lets it be copied again from
 * now on, in full. A comparison alone is never refused. Call it under the VM's lock.
 * Gives whether it was just reopened.
 * @throws MigratekitError `cut-over`
 */
export function passLatch(
  config: Pick<Config, "command" | "repair" | "reopen">,
  identity: VmIdentity,
  state: State,
  logger: Logger,
): boolean {
  const cutOver = state.readCutOver(identity);
  if (cutOver === undefined || (config.command === "verify" && !config.repair)) return false;
  if (!config.reopen) throw cutOverError(identity, cutOver);
  // What a machine has run from is no base for changes, whatever its file systems show of it.
  for (const { deviceKey } of state.records.listDisks(identity)) {
    state.records.distrustDisk(identity, deviceKey);
  }
  state.clearCutOver(identity);
  logger.warn(`--reopen: ${lossText(cutOver)}; every disk is copied in full`);
  return true;
}

/** The refusal, for a run and for a look ahead. */
export function cutOverError({ vmPath }: VmIdentity, { at, runId }: CutOver): MigratekitError {
  return new MigratekitError("cut-over", `${vmPath} was cut over at ${at} (run ${runId})`, {
    context: { vmPath, at, runId },
  });
}

/** What it means that a cutover does not count any more. */
export function lossText({ at, runId }: CutOver): string {
  return (
    `the cutover of ${at} (run ${runId}) does not count any more: ` +
    "what was written to the volumes since then is lost"
  );
}
