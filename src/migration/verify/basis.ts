/** What of a target must equal a snapshot that was taken after the last sync. Pure. */

import { decideCopy } from "../cycle/decision.ts";
import type { FrozenDisk } from "../disk.ts";

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
  disk: FrozenDisk,
  options: { readonly poweredOff: boolean },
): VerifyBasis {
  const decision = decideCopy(disk, { full: false });
  if (decision.type === "incremental") {
    return { type: "unchanged", since: decision.since, reason: "compared with the last sync" };
  }
  if (decision.type === "resume") {
    const interrupted = `${decision.reason}: compared as far as it got`;
    return decision.mode === "full"
      ? {
          type: "unchanged",
          since: decision.base,
          within: disk.journal?.finished ?? new Float64Array(0),
          reason: interrupted,
        }
      : { type: "unchanged", since: decision.since ?? decision.base, reason: interrupted };
  }
  const { storedChangeId } = disk;
  if (decision.targetMismatch && storedChangeId !== undefined) {
    return { type: "unchanged", since: storedChangeId, reason: decision.reason, otherTarget: true };
  }
  if (options.poweredOff) {
    return { type: "everything", reason: "the VM is off: all of it is compared" };
  }
  return { type: "unknown", reason: decision.reason };
}
