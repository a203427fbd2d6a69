/** How a run ended, as the fleet is told. */
import { exitCodes, MigratekitError, messageOf } from "../../errors.ts";
import { codeOf, exitCodeOf, Interruption } from "../../interruption.ts";
import { redact } from "../../logger.ts";
import type { RunOutcome } from "../fleet.ts";

export function outcomeOf(
  result: { readonly ending?: unknown } | { readonly error: unknown },
): RunOutcome {
  const ending = "ending" in result && result.ending !== undefined ? { ending: result.ending } : {};
  if (!("error" in result)) return { status: "completed", exitCode: exitCodes.success, ...ending };
  const { error } = result;
  const failed = { exitCode: exitCodeOf(error), message: redact(messageOf(error)), ...ending };
  if (error instanceof Interruption) return { status: "interrupted", ...failed };
  const remedy = error instanceof MigratekitError ? { remedy: redact(error.remedy) } : {};
  const errorCode = codeOf(error);
  // There was no room: it keeps its turn.
  const status = errorCode === "fleet-host-full" ? "interrupted" : "failed";
  return { status, errorCode, ...remedy, ...failed };
}
