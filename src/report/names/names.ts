import { exitCodes } from "../../errors.ts";
import { redact } from "../../logger.ts";
import { counted } from "../../text.ts";
import { printJson } from "../json/json.ts";

/** More names than that are for `--json`. */
const namesShown = 20;

/** Tells what an operator's word to a fleet came to: as a document, or in a line. Gives the exit code. */
export function tellNames(
  config: { readonly json: boolean },
  done: string,
  names: readonly string[],
): number {
  if (config.json) printJson({ status: "completed", exit_code: exitCodes.success, vms: names });
  else process.stdout.write(redact(`${done}: ${namesText(names)}\n`));
  return exitCodes.success;
}

/** `3 VMs: app, db, web`; of many the first ones. */
export function namesText(names: readonly string[]): string {
  if (names.length === 0) return "no VM";
  const shown = names.slice(0, namesShown).join(", ");
  const more = names.length > namesShown ? `, and ${names.length - namesShown} more` : "";
  return `${counted(names.length, "VM")}: ${shown}${more}`;
}
