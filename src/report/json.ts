import { MigratekitError, messageOf } from "../errors.ts";
import { codeOf, Interruption } from "../interruption.ts";
import { redact } from "../logger.ts";

/** One JSON document on stdout, the only thing there with `--json`. */
export function printJson(document: unknown): void {
  const clean = (_: string, value: unknown) => (typeof value === "string" ? redact(value) : value);
  process.stdout.write(`${JSON.stringify(document, clean)}\n`);
}

/** How a command ended that threw `error`. */
export function failureDocument(error: unknown) {
  const status = error instanceof Interruption ? "interrupted" : "failed";
  return { status, error: errorDocument(error) };
}

/** An error as `--json` has it. */
export function errorDocument(error: unknown) {
  const code = codeOf(error);
  const message = messageOf(error);
  if (error instanceof Interruption) return { code, message, signal: error.signal };
  if (!(error instanceof MigratekitError)) return { code, message };
  return { ...error.context, code, message, remedy: error.remedy };
}
