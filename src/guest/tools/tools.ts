import { MigratekitError, messageOf } from "../../errors.ts";
import { packageOf } from "./packages.ts";

/** A program that could not be started, with the package that brings it. */
export function cannotStart(program: string, error: unknown): MigratekitError {
  return missing(`${program} cannot be run: ${messageOf(error)}`, program);
}

/** Something that is not there, by the name of what is looked up in the list of packages. */
export function missing(message: string, tool: string): MigratekitError {
  return new MigratekitError("guest-tool-missing", message, {
    remedy: remedies[tool] ?? `Install ${packageOf(tool)}.`,
    context: { tool },
  });
}

/** What is no package of Debian's. */
const remedies: Readonly<Record<string, string>> = {
  "virtio-win":
    "Give virtio-win's ISO or folder with --virtio-win; on Enterprise Linux dnf install virtio-win.",
};
