/** Rehearsals in CloudStack that are to end: by `--end`, or because their time is over. */
import type { Config } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import { State } from "../../state/state.ts";
import { type CloudContext, openCloudStack } from "../cloud.ts";
import { findKnown } from "../known/known.ts";
import { namedVms } from "../known/named.ts";
import { endRehearsal } from "./ended.ts";
import { lockRehearsal } from "./in-cloudstack.ts";

/**
 * `--end`. Gives the name of what was removed; undefined: there was none.
 * @throws MigratekitError `cloudstack-…`, `locked`, `usage`, `state-unusable`; the signal's reason
 */
export async function runRehearsalEnd(context: CloudContext): Promise<string | undefined> {
  const { config, logger } = context;
  const identity = findKnown(config);
  using state = State.open(config.stateDir);
  using _lock = lockRehearsal(config.stateDir, identity);
  return await endRehearsal({ cloud: openCloudStack(context), identity, state, logger });
}

/** What `--for` said is over: whichever command of the VM comes next removes it. Never rejects. */
export async function endOverdueRehearsal(context: CloudContext): Promise<void> {
  const { config, logger } = context;
  try {
    using state = State.openExisting(config.stateDir);
    if (state === undefined || config.vmwarePath === undefined) return;
    for (const identity of namedVms(state, config)) {
      const stored = state.deployments.read(identity, "rehearsal");
      if (stored?.until === undefined || Date.parse(stored.until) > Date.now()) continue;
      const name = stored.instanceName;
      if (!reaches(config)) {
        logger.warn(`the rehearsal ${name} was to be removed from CloudStack at ${stored.until}`);
        continue;
      }
      using _lock = lockRehearsal(config.stateDir, identity);
      await endRehearsal({ cloud: openCloudStack(context), identity, state, logger });
    }
  } catch (error) {
    logger.warn(`a rehearsal whose time is over could not be removed: ${messageOf(error)}`);
  }
}

function reaches({ cloudstackEndpoint, cloudstackApiKey, cloudstackSecretKey }: Config): boolean {
  return [cloudstackEndpoint, cloudstackApiKey, cloudstackSecretKey].every(
    (setting) => setting !== undefined,
  );
}
