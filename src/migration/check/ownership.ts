/** Whose the targets are, and who writes to them now. */
import type { MigratekitError } from "../../errors.ts";
import { findTargetHolder, lockedTarget } from "../../state/lock/target-lock.ts";
import type { State } from "../../state/state.ts";
import { ownedByOther } from "../../state/targets.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { FoundDisk } from "../disk.ts";
import { diskTarget, namesToHold } from "../vm/ownership.ts";
import { type Finding, problem, warning } from "./finding.ts";

/**
 * Whose each target is, and whether another run on this host writes to it. Changes nothing; `state` is
 * undefined where nothing was ever run.
 * @throws MigratekitError `state-unusable`
 */
export async function checkOwnership(
  found: readonly FoundDisk[],
  state: State | undefined,
  identity: VmIdentity,
  takeOverTarget: boolean,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const disk of found) {
    const target = diskTarget(disk);
    const owner = state?.targets.findOtherOwner(identity, target);
    if (owner !== undefined) {
      const refusal = ownedByOther(target, owner);
      findings.push(takeOverTarget ? takenOver(refusal) : problem("target", refusal));
    }
    for (const name of namesToHold(disk)) {
      const holder = await findTargetHolder(name);
      if (holder === undefined) continue;
      findings.push(problem("lock", lockedTarget(name, holder)));
      break;
    }
  }
  return findings;
}

function takenOver({ message }: MigratekitError): Finding {
  return warning(
    "target",
    `${message}; the run would take it over and copy everything`,
    "Leave --take-over-target out of later runs.",
  );
}
