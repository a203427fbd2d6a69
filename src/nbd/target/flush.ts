/** Whether what a target was given can be made durable. */
import { MigratekitError } from "../../errors.ts";
import type { ExportInfo } from "../copy-engine/copy-engine.ts";
import type { TargetToCheck } from "./look.ts";
import { displayUri } from "./uri.ts";

/** What is wrong with writing to this target, as the error to be thrown; undefined: nothing is. */
export function obstacleToFlush(
  { key, endpoint }: TargetToCheck,
  { canFlush }: ExportInfo,
): MigratekitError | undefined {
  if (canFlush) return undefined;
  const uri = displayUri(endpoint.uri);
  return new MigratekitError(
    "target-no-flush",
    `${uri}, the target of disk-${key}, offers no flush: nothing tells when what was written there is on its disk`,
    { context: { disk: `disk-${key}`, uri } },
  );
}

/** For a log, where `--accept-no-flush` was given. */
export function acceptedNoFlush({ message }: MigratekitError): string {
  return `${message}; --accept-no-flush was given: a power cut at the target may undo what is called done`;
}
