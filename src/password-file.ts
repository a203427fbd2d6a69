/** A secret from a file or from stdin: its first line, and no more of it than one can be long. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { MigratekitError } from "./errors.ts";
import { fileProblem } from "./file-problem.ts";

const lineBytesMax = 4096;

/**
 * What `flag` names; `-` is stdin, which every VM of a list may ask for. `what` it holds, for messages.
 * @throws MigratekitError `usage`
 */
export function readSecretFile(
  { flag, what }: { readonly flag: string; readonly what: string },
  path: string,
  warnings: string[],
): string {
  try {
    const line = path === "-" ? readStdin() : readFile(what, path, warnings);
    if (line !== "") return line;
  } catch (error) {
    throw usage(flag, path, `cannot be read: ${fileProblem(error)}`, error);
  }
  throw usage(flag, path, "its first line is empty");
}

function readFile(what: string, path: string, warnings: string[]): string {
  const fd = openSync(path, "r");
  try {
    const stat = fstatSync(fd);
    if (stat.isFile() && (stat.mode & 0o077) !== 0) {
      warnings.push(`others can read the ${what} file ${path}; chmod 600 it`);
    }
    return readFirstLine(fd);
  } finally {
    closeSync(fd);
  }
}

let stdin: string | undefined;

function readStdin(): string {
  stdin ??= readFirstLine(0);
  return stdin;
}

function readFirstLine(fd: number): string {
  const buffer = Buffer.alloc(lineBytesMax + 2);
  let length = 0;
  while (length < buffer.length && !buffer.subarray(0, length).includes("\n")) {
    const bytes = readSync(fd, buffer, length, buffer.length - length, null);
    if (bytes === 0) break;
    length += bytes;
  }
  const [line = ""] = buffer.toString("utf8", 0, length).split(/\r?\n/, 1);
  buffer.fill(0);
  if (Buffer.byteLength(line) > lineBytesMax) {
    throw new Error(`its first line is longer than ${lineBytesMax} bytes`);
  }
  return line;
}

function usage(flag: string, path: string, reason: string, cause?: unknown): MigratekitError {
  return new MigratekitError("usage", `--${flag} ${path}: ${reason}`, { cause });
}
