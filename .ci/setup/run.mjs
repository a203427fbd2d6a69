/** Running other programs with their output kept in one log, shown only when they fail. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const shownLines = 60;

/** A failure that set-up foresees: printed without a stack. */
export class SetupError extends Error {}

export function underRoot(path) {
  return join(root, path);
}

export function startLog() {
  mkdirSync(underRoot(".lab"), { recursive: true });
  writeFileSync(logFile(), "");
}

/** Runs a program in the repository's root; throws SetupError with the end of its output. */
export function run(command, args, { env = process.env } = {}) {
  const result = tryRun(command, args, { env });
  if (result.ok) return;
  const lines = result.output.trimEnd().split("\n");
  throw new SetupError(
    [
      `${[command, ...args].join(" ")}: ${result.reason}`,
      ...lines.slice(-shownLines).map((line) => `  ${line}`),
      `The whole log: ${logFile()}`,
    ].join("\n"),
  );
}

/** As `run`, but tells instead of throwing. */
export function tryRun(command, args, { env = process.env } = {}) {
  writeFileSync(logFile(), `$ ${[command, ...args].join(" ")}\n`, { flag: "a" });
  const start = statSync(logFile()).size;
  const log = openSync(logFile(), "a");
  const result = spawnSync(command, args, { cwd: root, env, stdio: ["ignore", log, log] });
  closeSync(log);
  return {
    ok: result.status === 0,
    reason: result.error?.message ?? `ended with ${result.signal ?? result.status}`,
    output: readFileSync(logFile()).subarray(start).toString(),
  };
}

function logFile() {
  return underRoot(".lab/setup.log");
}
