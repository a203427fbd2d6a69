/**
 * What `--json` prints: one document on stdout, its keys in snake_case. A failure has one, too, whatever
 * failed; it is printed by the command, where that knows more than the error, or by cli.ts.
 */
import { catalogue, MigratekitError, messageOf } from "../../errors.ts";
import { codeOf, exitCodeOf, Interruption } from "../../interruption.ts";
import { redact } from "../../logger.ts";

/** One line on stdout, the only thing there with `--json`. */
export function printJson(document: unknown): void {
  process.stdout.write(jsonLine(document));
}

/** What `printJson` prints. */
export function jsonLine(document: unknown): string {
  return `${jsonOf(document)}\n`;
}

/** The same of a document whose last field is a list of thousands: it is never in memory as one text. */
export function printJsonWithList(head: object, name: string, items: readonly unknown[]): void {
  process.stdout.write(`${jsonOf({ ...head, [name]: [] }).slice(0, -"]}".length)}`);
  for (const [at, item] of items.entries())
    process.stdout.write(`${at === 0 ? "" : ","}${jsonOf(item)}`);
  process.stdout.write("]}\n");
}

function jsonOf(value: unknown): string {
  const clean = (_: string, field: unknown) => (typeof field === "string" ? redact(field) : field);
  return JSON.stringify(value, clean);
}

const told = new WeakSet<object>();

/** The document of a command that ends with `error`, together with what else is known. */
export function printFailure(error: unknown, facts: object = {}): void {
  printJson({ ...failureDocument(error), ...facts });
  markTold(error);
}

/** A document that is printed already says how the command ended. */
export function markTold(error: unknown): void {
  if (typeof error === "object" && error !== null) told.add(error);
}

export function wasTold(error: unknown): boolean {
  return typeof error === "object" && error !== null && told.has(error);
}

/** How a command ended that threw `error`. */
export function failureDocument(error: unknown) {
  const status = error instanceof Interruption ? "interrupted" : "failed";
  return { status, exit_code: exitCodeOf(error), error: errorDocument(error) };
}

/** An error as `--json` has it. */
export function errorDocument(error: unknown) {
  const code = codeOf(error);
  const message = messageOf(error);
  if (error instanceof Interruption) {
    return { code, message, remedy: "Run it again.", signal: error.signal };
  }
  if (!(error instanceof MigratekitError)) return { code, message, remedy: catalogue.bug.remedy };
  return { ...inSnakeCase(error.context), code, message, remedy: error.remedy };
}

function inSnakeCase(context: object): object {
  return Object.fromEntries(
    Object.entries(context).map(([name, value]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value,
    ]),
  );
}
