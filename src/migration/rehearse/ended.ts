/** The end of a rehearsal in CloudStack: its machine and its clones are removed. */
import type { Logger } from "pino";
import type { CloudStack } from "../../cloudstack/cloudstack.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { travel } from "../deploy/deploy.ts";

export interface EndingRehearsal {
  readonly cloud: CloudStack;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "deployments">;
  readonly logger: Logger;
}

/**
 * Gives the name of the machine; undefined: there is no rehearsal. Goes on where another process was killed.
 * @throws MigratekitError `cloudstack-…`, `state-unusable`; the signal's reason
 */
export async function endRehearsal(ending: EndingRehearsal): Promise<string | undefined> {
  const { identity, state, logger } = ending;
  const stored = state.deployments.read(identity, "rehearsal");
  if (stored === undefined) return undefined;
  state.deployments.learn(identity, "rehearsal", { goal: "undo" });
  await travel({ ...ending, purpose: "rehearsal" });
  state.deployments.forget(identity, "rehearsal");
  logger.info(`the rehearsal ${stored.instanceName} is removed from CloudStack, with its volumes`);
  return stored.instanceName;
}
