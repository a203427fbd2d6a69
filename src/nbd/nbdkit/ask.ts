/** Asking nbdkit something that it answers at once: its version, a plugin's fields, why it will not start. */
import { hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";
import { type ProgramResult, runProgram } from "../../run-program.ts";
import { parseLine } from "./causes.ts";
import { childEnvironment, programPath } from "./command.ts";

export interface NbdkitProgram {
  /** "nbdkit", or its path. */
  readonly nbdkit: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** @throws MigratekitError `nbdkit-missing` where it cannot be run; the signal's reason */
export async function askNbdkit(
  options: NbdkitProgram,
  args: readonly string[],
): Promise<ProgramResult> {
  const { nbdkit, signal, timeoutMs } = options;
  try {
    return await runProgram(programPath(nbdkit), args, {
      env: childEnvironment(),
      ...(signal === undefined ? {} : { signal }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw cannotRun(nbdkit, error);
  }
}

/** For an error of `spawn`: ENOENT, EACCES, ENOEXEC … */
export function cannotRun(nbdkit: string, error: unknown): MigratekitError {
  const where = nbdkit.includes("/") ? nbdkit : `${nbdkit} (looked for in PATH)`;
  const reason = hasSystemCode(error, "ENOENT") ? "there is no such program" : messageOf(error);
  return new MigratekitError("nbdkit-missing", `cannot run ${where}: ${reason}`, { cause: error });
}

/** What it answered, to follow "it". */
export function answerOf(result: ProgramResult): string {
  if (result.timedOut) return "gave no answer in time";
  const text = errorLineOf(result.stderr) ?? firstLine(result.stdout);
  const end = result.exitCode === undefined ? "died" : `ended with exit code ${result.exitCode}`;
  return text === undefined ? end : `${end} and said: ${text}`;
}

/** The first error of what it printed, else the first line. */
export function errorLineOf(stderr: string): string | undefined {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const error = lines.find((line) => parseLine(line).level === "error") ?? lines[0];
  return error === undefined ? undefined : parseLine(error).text.slice(0, 300);
}

function firstLine(text: string): string | undefined {
  return text.trim().split("\n")[0]?.slice(0, 120) || undefined;
}

/** The lines "name=value" of --dump-config and --dump-plugin. */
export function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1));
  }
  return fields;
}
