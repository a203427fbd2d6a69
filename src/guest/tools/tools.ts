import { MigratekitError, messageOf } from "../../errors.ts";
import { packageOf } from "./packages.ts";

/** A program that could not be started, with the package that brings it. */
export function cannotStart(program: string, error: unknown): MigratekitError {
  return missing(`${program} cannot be run: ${messageOf(error)}`, program);
}

/** Something that is not there, by the name of what is looked up in the list of packages. */
export function missing(message: string, tool: string): MigratekitError {
  return new MigratekitError("guest-tool-missing", message, {
    remedy: `Install ${packageOf(tool)}.`,
    context: { tool },
  });
}
