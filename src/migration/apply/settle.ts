/** What every command on a VM does first: an apply or a way back that did not end is ended, and converted targets are left alone. */
import { tmpdir } from "node:os";
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { makeWorkFolder } from "../../guest/guest.ts";
import { clearLeftovers } from "../../guest/work/leftovers.ts";
import type { TargetLocks } from "../../state/lock/target-lock.ts";
import type { StoredConversion } from "../../state/machine/conversions.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { withUndo } from "../../undo.ts";
import { openEngine } from "../engine.ts";
import type { RunLease } from "../lease.ts";
import { removeFolder } from "./kept-list.ts";
import { restoreTargets } from "./restore.ts";

export interface SettleContext {
  readonly config: Pick<
    Config,
    | "full"
    | "targetDropTime"
    | "targetConnections"
    | "maxRate"
    | "memory"
    | "stallTimeout"
    | "flushTimeout"
  >;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "conversions" | "lateWrites" | "targets">;
  readonly targetLocks: TargetLocks;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly lease?: RunLease;
}

/**
 * Ends what another command left unended. Call it under the VM's lock. Gives the conversion that the targets
 * hold, if any.
 * @throws MigratekitError `old-bytes-lost`, `target-…`, `locked`, `guest-tool-missing`; the signal's reason
 */
export async function endUnended(context: SettleContext): Promise<StoredConversion | undefined> {
  const { config, identity, state, logger } = context;
  await clearLeftovers(tmpdir(), logger);
  const stored = state.conversions.read(identity);
  if (stored === undefined || stored.phase === "converted") return stored;
  if (stored.phase === "keeping") {
    removeFolder(stored.folder);
    state.conversions.forget(identity);
    return undefined;
  }
  logger.warn(unendedText(stored));
  await withUndo(logger, async (undo) => {
    const work = undo.use("clear the work folder", await makeWorkFolder({ logger }));
    const engine = undo.use("stop the copy engine", openEngine(config, logger, context.lease));
    return await restoreTargets({ ...context, work, engine });
  });
  return undefined;
}

/**
 * For commands that sync: refuses targets that hold a converted guest, or, where all is copied in full, gives
 * up what was kept of them.
 * @throws as `endUnended`; MigratekitError `converted`
 */
export async function settleConversion(context: SettleContext): Promise<void> {
  const { config, identity, state, logger } = context;
  const stored = state.conversions.read(identity);
  if (config.full && stored !== undefined && stored.phase !== "keeping") {
    state.conversions.giveUp(identity);
    logger.warn(lossText(stored));
  }
  const converted = await endUnended(context);
  if (converted !== undefined) throw convertedError(identity, converted);
}

/** The refusal, for a run and for a look ahead. */
export function convertedError(
  { vmPath }: VmIdentity,
  { since, runId, folder }: StoredConversion,
): MigratekitError {
  return new MigratekitError(
    "converted",
    `the targets of ${vmPath} were converted at ${since} (run ${runId}): a sync would write over parts of that`,
    { context: { vmPath, since, runId, folder } },
  );
}

/** What another command left, and what the next one does about it. */
export function unendedText({ phase, since, runId }: StoredConversion): string {
  const what = phase === "applying" ? "the conversion" : "the way back from a conversion";
  return `${what} of ${since} (run ${runId}) did not end: the old bytes are brought back to all targets`;
}

/** What it means that the old bytes are given up. */
export function lossText({ since, runId }: StoredConversion): string {
  return `the conversion of ${since} (run ${runId}) does not count any more, and what it kept for the way back is removed`;
}
