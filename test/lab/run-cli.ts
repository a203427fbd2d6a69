// Runs the command line as a user does: another process, its own environment, its output kept.

import { type ChildProcess, spawn } from "node:child_process";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { breachesOf, schemaOf } from "./json-schema.ts";

const root = join(import.meta.dirname, "../..");

/**
 * The program and its first arguments: from source, or an executable made from it, which then takes
 * part in everything that the lab and the tests do.
 */
export const cliCommand = commandFor(process.argv[1] ?? "", process.env);

/** `test` is the file that runs; `npm test` says in which folders tests start what it has built. */
export function commandFor(test: string, env: NodeJS.ProcessEnv): readonly [string, ...string[]] {
  const folders = env.TESTS_OF_EXECUTABLE?.split(" ").filter(Boolean) ?? [];
  const built = folders.some((folder) => relative(root, test).startsWith(folder));
  const executable =
    env.MIGRATEKIT_TEST_BINARY ?? (built ? join(root, "dist/migratekit") : undefined);
  return executable ? [executable] : [join(root, ".ci/node"), join(root, "src/cli.ts")];
}

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  durationMs: number;
}

export interface CliRun {
  readonly child: ChildProcess;
  readonly result: Promise<CliResult>;
}

export interface CliOptions {
  args: readonly string[];
  env?: Record<string, string>;
  /** A program and its arguments that start the command in its place: `unshare …`. */
  within?: readonly string[];
  /** Given on stdin. */
  input?: string;
  /** For people who watch: its stderr goes where ours goes, and is not kept. */
  inheritStderr?: boolean;
  /** Gets every line that it writes to stderr, as it comes. */
  onStderrLine?: (line: string) => void;
}

/** Variables of the caller that would change what the command does are not handed on. */
function cleanEnvironment(): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(MIGRATEKIT_|NBD_LOCAL_PORT$|CLOUDSTACK_API_URL$|NODE_TEST_CONTEXT$)/.test(name),
  );
  return Object.fromEntries(kept);
}

/** Every document that a test makes is held against its schema, where the command has one. */
function jsonBreaches(args: readonly string[], stdout: string): string[] {
  // Of a command of a group the name has two words.
  const names = [args.slice(0, 2).join("-"), args[0] ?? ""];
  const command = names.find((name) => schemaOf(name) !== undefined);
  if (!args.includes("--json") || command === undefined) return [];
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .flatMap((line) => breachesOf(command, JSON.parse(line)));
}

export function startCli(options: CliOptions): CliRun {
  const startedAt = performance.now();
  const [program, ...first] = [...(options.within ?? []), ...cliCommand];
  const child = spawn(program!, [...first, ...options.args], {
    env: { ...cleanEnvironment(), ...options.env },
    stdio: [
      options.input === undefined ? "ignore" : "pipe",
      "pipe",
      options.inheritStderr ? "inherit" : "pipe",
    ],
  });
  const killWithUs = () => child.kill("SIGKILL");
  process.on("exit", killWithUs);
  child.on("exit", () => process.off("exit", killWithUs));
  child.stdin?.end(options.input);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  if (options.onStderrLine && child.stderr) {
    createInterface({ input: child.stderr }).on("line", options.onStderrLine);
  }
  const result = new Promise<CliResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const breaches = jsonBreaches(options.args, stdout);
      if (breaches.length > 0)
        reject(new Error(`${options.args[0]} --json: ${breaches.join("; ")}`));
      resolve({ code, signal, stdout, stderr, durationMs: performance.now() - startedAt });
    });
  });
  return { child, result };
}
