/** A password from a file or from stdin: its first line, and no more of it than a password can be long. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { MigratekitError } from "./errors.ts";
import { fileProblem } from "./file-problem.ts";

const lineBytesMax = 4096;

/** `-` is stdin, which every VM of a list may ask for. @throws MigratekitError `usage` */
export function readPasswordFile(path: string, warnings: string[]): string {
  const line = path === "-" ? readStdin() : readFile(path, warnings);
  if (line !== "") return line;
  throw usage(path, "its first line is empty");
}

function readFile(path: string, warnings: string[]): string {
  try {
    const fd = openSync(path, "r");
    try {
      const stat = fstatSync(fd);
      if (stat.isFile() && (stat.mode & 0o077) !== 0) {
        warnings.push(`others can read the password file ${path}; chmod 600 it`);
      }
      return readFirstLine(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw usage(path, `cannot be read: ${fileProblem(error)}`, error);
  }
}

let stdin: string | undefined;

function readStdin(): string {
  try {
    stdin ??= readFirstLine(0);
    return stdin;
  } catch (error) {
    throw usage("-", `cannot be read: ${fileProblem(error)}`, error);
  }
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

function usage(path: string, reason: string, cause?: unknown): MigratekitError {
  return new MigratekitError("usage", `--vmware-password-file ${path}: ${reason}`, { cause });
}
