/**
 * Knows every process that the tests have started, daemons included: the kernel hands orphans to the
 * nearest ancestor that asked to be their "subreaper", so they stay below the process that asked.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

export interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks since the machine's start: with the pid, which is used again by and by, it is one process. */
  readonly startedTicks: number;
  readonly words: readonly string[];
}

const pollMs = 100;

// Node has no prctl(2); the request survives exec. 36 is PR_SET_CHILD_SUBREAPER.
const becomeSubreaper =
  "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])";

/** Runs a Node script as a subreaper, and resolves with its exit code. */
export function runAsSubreaper(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn("python3", ["-c", becomeSubreaper, process.execPath, ...args], {
    stdio: "inherit",
    env,
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (status) => resolve(status ?? 1));
  });
}

/** Everything below a process. Those that have ended are not in it. */
export function descendantsOf(rootPid: number): Process[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const byParent = Map.groupBy(all.flatMap(readProcess), ({ parent }) => parent);
  const below = (pid: number): Process[] =>
    (byParent.get(pid) ?? []).flatMap((entry) => [entry, ...below(entry.pid)]);
  return below(rootPid);
}

/** Gives what is below a process the time to end by itself, then kills the rest and returns it. */
export async function endDescendants(rootPid: number, waitMs: number): Promise<Process[]> {
  const deadline = Date.now() + waitMs;
  let rest = descendantsOf(rootPid);
  while (rest.length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    rest = descendantsOf(rootPid);
  }
  for (const { pid } of rest) killProcess(pid);
  return rest;
}

export function killProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function readProcess(name: string): Process[] {
  try {
    // After the command in brackets, which may hold anything: state, parent, …; proc(5) has their numbers.
    const fields = readFileSync(`/proc/${name}/stat`, "latin1").split(") ").at(-1)!.split(" ");
    const [state, parent] = fields;
    if (state === "Z") return [];
    const startedTicks = Number(fields[19]);
    const words = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").filter(Boolean);
    return [{ pid: Number(name), parent: Number(parent), startedTicks, words }];
  } catch {
    return []; // It has ended meanwhile.
  }
}
