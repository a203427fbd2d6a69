import { chmodSync, linkSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { MigratekitError } from "./errors.ts";
import { fileProblem } from "./file-problem.ts";

/**
 * Puts a file that everybody may read in a path's place, whole or not at all; its text is made once the
 * place is known to be one. @throws errors of the system, or saying why it is none
 */
export function replaceFile(path: string, makeText: () => string): void {
  withPartial(path, (partial) => {
    writePartial(partial, makeText());
    renameSync(partial, path);
  });
}

/** The same where no file may be in that place: the system's error is EEXIST where there is one. */
export function createFile(path: string, makeText: () => string): void {
  withPartial(path, (partial) => {
    writePartial(partial, makeText());
    // Unlike a rename this takes nobody's place, not even that of a file made a moment ago.
    linkSync(partial, path);
    rmSync(partial);
  });
}

function writePartial(partial: string, text: string): void {
  writeFileSync(partial, text, { flag: "wx" });
  // Whoever reads it is another user, whatever our umask is; it holds no secret.
  chmodSync(partial, 0o644);
}

/** Whether `replaceFile` will find its place. @throws as it would */
export function checkReplaceable(path: string): void {
  withPartial(path, (partial) => {
    writeFileSync(partial, "", { flag: "wx" });
    rmSync(partial);
  });
}

function withPartial(path: string, write: (partial: string) => void): void {
  const partial = `${path}.${process.pid}.partial`;
  // What is put in its place would take away a device; one without a writer would never be read.
  const found = statSync(path, { throwIfNoEntry: false });
  if (found && !found.isFile()) throw new Error("it is not a file");
  // Others may write to the directory: a link put there beforehand is not followed.
  rmSync(partial, { force: true });
  try {
    write(partial);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

/** Writes, or looks whether it can, for `flag`. @throws MigratekitError `usage` naming flag and file, for whatever `write` throws */
export function writeFor(
  { flag, path, remedy }: { readonly flag: string; readonly path: string; readonly remedy: string },
  write: () => void,
): void {
  try {
    write();
  } catch (error) {
    const message = `${flag} ${path}: cannot be written: ${fileProblem(error)}`;
    throw new MigratekitError("usage", message, { remedy, cause: error });
  }
}
