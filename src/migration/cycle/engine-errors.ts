import { MigratekitError, messageOf } from "../../errors.ts";
import { NbdError } from "../../nbd/copy-engine/copy-engine.ts";

/**
 * An error of the engine as the operator should see it: which disk, which side, where. `rootCause`
 * is what nbdkit said of the source, which knows more than the NBD client can.
 */
export function explainCopyError(
  error: unknown,
  diskId: string,
  targetUri: string,
  rootCause: MigratekitError | undefined,
): unknown {
  if (!(error instanceof NbdError)) return error;
  const place =
    error.offset === undefined ? "" : ` at offset ${error.offset} (${error.length ?? 0} bytes)`;
  const tries = error.attempts && error.attempts > 1 ? ` after ${error.attempts} attempts` : "";
  const context = {
    disk: diskId,
    side: error.side,
    errno: error.errno,
    offset: error.offset,
    length: error.length,
  };
  if (error.side === "source") {
    if (rootCause) {
      return new MigratekitError(rootCause.code, `${diskId}: ${rootCause.message}`, {
        cause: error,
        remedy: rootCause.remedy,
        context: { ...rootCause.context, ...context },
      });
    }
    return new MigratekitError(
      "source-io",
      `${diskId}: reading the source failed${place}${tries}: ${messageOf(error)}`,
      { cause: error, context },
    );
  }
  return new MigratekitError(
    "target-io",
    `${diskId}: ${error.code === "ENGINE_READ" ? "reading from" : "writing to"} ${targetUri} failed${place}${tries}: ${messageOf(error)}`,
    { cause: error, context },
  );
}
