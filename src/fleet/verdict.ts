/** What follows from a run's ending: by its status, its error's code, its exit code. Pure. */

import { catalogue, type ErrorCode, exitCodes } from "../errors.ts";
import type { FleetAction, RunOutcome } from "./fleet.ts";

const firstPauseMs = 60_000;
const pauseMsMax = 3_600_000;
/** Each try of a cutover may shut the guest down: that is for people to decide after a few. */
const cutoverTriesMax = 3;

export type Verdict =
  | { readonly kind: "done" }
  /** Nothing failed: due again as it was, with its turn. */
  | { readonly kind: "keeps-turn" }
  /** It passes by itself, sooner or later. */
  | { readonly kind: "again"; readonly afterMs: number }
  | { readonly kind: "operator" };

/** `failures`: those before this one, of the same action, since the last that went well. */
export function verdictOn(outcome: RunOutcome, action: FleetAction, failures: number): Verdict {
  if (outcome.status === "completed") return { kind: "done" };
  if (outcome.status === "interrupted") return { kind: "keeps-turn" };
  if (!passes(outcome)) return { kind: "operator" };
  if (action === "cutover" && failures + 1 >= cutoverTriesMax) return { kind: "operator" };
  return { kind: "again", afterMs: Math.min(firstPauseMs * 2 ** failures, pauseMsMax) };
}

function passes({ errorCode, exitCode }: RunOutcome): boolean {
  if (errorCode !== undefined && errorCode in catalogue) {
    return catalogue[errorCode as ErrorCode].passes;
  }
  // Ended without a word of its own: what stands outside may be better next time.
  const outside = ["vsphere", "source", "target", "locked", "cloudstack", "fleetDatabase"] as const;
  return outside.some((name) => exitCodes[name] === exitCode) || exitCode > 128;
}
