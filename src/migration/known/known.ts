/** A VM that the state directory knows, or targets given by hand, held without a vCenter. */
import { createHash } from "node:crypto";
import { requireSettings } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { parseNbdUri, targetIdentity } from "../../nbd/target/uri.ts";
import { VmLock } from "../../state/lock/lock.ts";
import { TargetLocks } from "../../state/lock/target-lock.ts";
import type { StoredConversion } from "../../state/machine/conversions.ts";
import { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { withUndo } from "../../undo.ts";
import { endUnended } from "../apply/settle.ts";
import type { CycleContext, HeldVm } from "../vm/held-vm.ts";
import { namedVms } from "./named.ts";

export type KnownVm = Omit<HeldVm, "site" | "shared"> & {
  /** What its targets hold; what did not end was brought back already. */
  readonly conversion: StoredConversion | undefined;
};

/** What the endpoint of targets given by hand is called. */
const byHand = "by hand";

/**
 * Finds the VM, takes its lock, brings back what another command left half done, and does `work`.
 * @throws MigratekitError `usage`, `state-unusable`, `locked`, `old-bytes-lost`, `target-…`; whatever `work` throws
 */
export async function withKnownVm<T>(
  context: Omit<CycleContext, "shared">,
  work: (held: KnownVm) => Promise<T>,
): Promise<T> {
  const { config, logger } = context;
  return await withUndo(logger, async (undo) => {
    const identity = findKnown(config);
    const state = undo.use("close the state database", State.open(config.stateDir));
    const lock = undo.use(
      "release the VM's lock",
      VmLock.acquire(config.stateDir, identity.instanceUuid, identity),
    );
    const targetLocks = undo.use("give the targets back", new TargetLocks(identity.vmPath));
    const conversion = await endUnended({ ...context, identity, state, targetLocks });
    return await work({ ...context, identity, state, lock, targetLocks, conversion });
  });
}

/** Whether the targets were given, and no VM named. */
export function isByHand(identity: VmIdentity): boolean {
  return identity.endpoint === byHand;
}

type Named = Pick<
  CycleContext["config"],
  "command" | "stateDir" | "disk" | "vmwarePath" | "vmwareEndpoint"
>;

/** The VM that the settings name. @throws MigratekitError `usage`, `state-unusable` */
export function findKnown(config: CycleContext["config"]): VmIdentity {
  if (config.disk !== undefined) return identityOf(config.disk, config);
  requireSettings(config, "vmware-path");
  using state = State.openExisting(config.stateDir);
  const { vmwarePath } = config;
  const found = state === undefined ? [] : namedVms(state, config);
  const endpoints = new Set(found.map(({ endpoint }) => endpoint));
  if (endpoints.size > 1) {
    throw new MigratekitError(
      "usage",
      `${config.stateDir} knows ${vmwarePath} at ${[...endpoints].join(" and ")}`,
      { remedy: "Say which with --vmware-endpoint." },
    );
  }
  const last = found.at(-1);
  if (last !== undefined) return last;
  throw new MigratekitError("usage", `${config.stateDir} knows of no run of ${vmwarePath}`, {
    remedy:
      "Check --state-dir, --vmware-path and --vmware-endpoint, or name the targets with --disk.",
  });
}

/** The same for the same targets, in any order and spelling. */
function identityOf(uris: readonly string[], { vmwarePath }: Named): VmIdentity {
  if (vmwarePath !== undefined) {
    throw new MigratekitError("usage", "--disk and --vmware-path exclude each other", {
      remedy: "Name the VM whose runs are known, or give the targets of one that is not.",
    });
  }
  const names = uris.map(identityIn);
  if (new Set(names).size < names.length) {
    throw new MigratekitError("usage", "--disk names one target twice");
  }
  const digest = createHash("sha256").update(names.toSorted().join("\n")).digest("hex");
  const instanceUuid = `by-hand-${digest.slice(0, 32)}`;
  return { endpoint: byHand, instanceUuid, vmPath: `/by-hand/${names.join("+")}` };
}

function identityIn(uri: string): string {
  try {
    parseNbdUri(uri);
    return targetIdentity(uri);
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    throw new MigratekitError("usage", `--disk ${error.message}`, { remedy: error.remedy });
  }
}
