import { MigratekitError, messageOf } from "../errors.ts";
import { redact } from "../logger.ts";

/** One JSON document on stdout, the only thing there with `--json`. */
export function printJson(document: unknown): void {
  const clean = (_: string, value: unknown) => (typeof value === "string" ? redact(value) : value);
  process.stdout.write(`${JSON.stringify(document, clean)}\n`);
}

/** An error as `--json` has it. */
export function errorDocument(error: unknown) {
  if (!(error instanceof MigratekitError)) return { code: "bug", message: messageOf(error) };
  const { code, message, remedy, context } = error;
  return { ...context, code, message, remedy };
}
