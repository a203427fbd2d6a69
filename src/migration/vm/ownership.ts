/** Whose the targets are: settled before anything is done for them, and held while a run may write. */
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { isVmLocked } from "../../state/lock/lock.ts";
import type { TargetLocks } from "../../state/lock/target-lock.ts";
import type { State } from "../../state/state.ts";
import { type DiskTarget, ownedByOther, type TargetOwner } from "../../state/targets.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { FoundDisk } from "../disk.ts";
import type { RunLease } from "../lease.ts";

/** As much of a found disk as whose its target is depends on. */
export interface TargetOfDisk {
  readonly disk: { readonly key: number };
  readonly target: FoundDisk["target"];
}

export interface OwnershipContext {
  readonly config: { readonly takeOverTarget: boolean; readonly stateDir: string };
  readonly identity: VmIdentity;
  readonly state: Pick<State, "targets">;
  readonly targetLocks: TargetLocks;
  readonly runId: string;
  readonly lease?: Pick<RunLease, "takenOver">;
  readonly logger: Logger;
}

/**
 * Refuses targets that belong to other disks, or takes them over where that was asked for, and holds
 * all of them until the VM is given back. A target that is nobody's becomes the disk's with the
 * first byte that is written to it (cycle/journal.ts).
 * @throws MigratekitError `target-owned`; `locked` where another run writes to one of them
 */
export async function holdTargets(
  context: OwnershipContext,
  found: readonly TargetOfDisk[],
): Promise<void> {
  const { config, identity, state, targetLocks } = context;
  const owned = found.flatMap((disk) => {
    const target = diskTarget(disk);
    const owner = state.targets.findOtherOwner(identity, target);
    return owner === undefined ? [] : [{ target, owner }];
  });
  if (owned[0] !== undefined && !config.takeOverTarget) {
    throw ownedByOther(owned[0].target, owned[0].owner);
  }
  const passSilent = context.lease?.takenOver === true;
  await targetLocks.take(found.flatMap(namesToHold), { passSilent });
  for (const { target, owner } of owned) takeOver(context, target, owner);
}

/** The disk's target as the state knows it, by the names that outlive this run. */
export function diskTarget({ disk, target }: TargetOfDisk): DiskTarget {
  return { deviceKey: disk.key, names: target.names.lasting };
}

/** All names of the disk's target: whoever holds one of them writes to the same export. */
export function namesToHold({ target: { names } }: Pick<TargetOfDisk, "target">): string[] {
  return [...names.lasting, ...names.passing];
}

/** Its owner in this state directory may be at work where this host's locks do not reach. */
function takeOver(context: OwnershipContext, target: DiskTarget, owner: TargetOwner): void {
  const { config, identity, state, runId, logger } = context;
  const own = owner.vm.instanceUuid === identity.instanceUuid.toLowerCase();
  if (!own && isVmLocked(config.stateDir, owner.vm.instanceUuid) !== undefined) {
    throw new MigratekitError(
      "locked",
      `another run is working on ${owner.vm.vmPath}, whose target ${target.names[0]} is to be taken over`,
    );
  }
  state.targets.takeOver(identity, target, runId);
  logger.warn(
    { disk: `disk-${target.deviceKey}`, target: target.names[0] },
    `--take-over-target: ${ownedByOther(target, owner).message}; it is taken over and copied in full`,
  );
}
