/** What of a target must equal a snapshot that was taken after the last sync. Pure. */

import type { CycleDisk } from "../cycle/cycle-disk.ts";
import { planDisk } from "../cycle/decision.ts";

export type VerifyBasis =
  | {
      /** What did not change since this change ID must be equal; the rest is merely newer. */
      readonly type: "unchanged";
      readonly since: string;
      /** Where only a part of the target is known: what an interrupted full copy finished. */
      readonly within?: Float64Array;
      readonly reason: string;
      /** The target is not the one that the record speaks of; nothing is to be repaired there. */
      readonly otherTarget?: true;
    }
  /** Nothing can have changed: all must be equal. */
  | { readonly type: "everything"; readonly reason: string }
  | { readonly type: "unknown"; readonly reason: string };

/** The same knowledge that decides what a run would copy decides what can be verified. */
export function verifyBasis(
  disk: CycleDisk,
  options: { readonly poweredOff: boolean },
): VerifyBasis {
  const plan = planDisk(disk.frozen, disk.targetFacts, disk.known, { full: false });
  if (plan.type === "incremental") {
    return { type: "unchanged", since: plan.since, reason: "compared with the last sync" };
  }
  if (plan.type === "resume") {
    const interrupted = `${plan.reason}: compared as far as it got`;
    return plan.mode === "full"
      ? {
          type: "unchanged",
          since: plan.base,
          within: disk.journalFinished,
          reason: interrupted,
        }
      : { type: "unchanged", since: plan.since ?? plan.base, reason: interrupted };
  }
  const { storedChangeId } = disk.known;
  if (plan.targetMismatch && storedChangeId !== undefined) {
    return { type: "unchanged", since: storedChangeId, reason: plan.reason, otherTarget: true };
  }
  if (options.poweredOff) {
    return { type: "everything", reason: "the VM is off: all of it is compared" };
  }
  return { type: "unknown", reason: plan.reason };
}
