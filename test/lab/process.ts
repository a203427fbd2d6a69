// Real servers for the laboratory, each a process group of its own, none of which outlives us:
// stop() ends a group politely, then by force; and a guardian process does so, and removes our
// temporary folders, when this process dies without having done it (even by SIGKILL).

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { allProcesses, isRunning } from "./process-table.ts";

const lastWordsTimeoutMs = 1_000;
const stopTimeoutMs = 3000;

/** A server's process group. `pid` is its leader and its id. */
export interface ProcessGroup {
  readonly pid: number;
  /** What the group printed so far (the last 64 KiB), for error messages and assertions. */
  output(): string;
  /** The same once it has ended: an end is seen before what was printed last has been read. */
  lastWords(): Promise<string>;
  isAlive(): boolean;
  /** TERM, a bounded wait, KILL; returns when no process of the group is left. */
  stop(): Promise<void>;
  /** KILL at once; returns when no process of the group is left. */
  kill(): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

// The guardian reads "+PID", "-PID", "+/folder" and "-/folder" lines; when the pipe ends it
// kills the groups and removes the folders that are left. It does not see our signals.
const guardianScript = `
pids=" " dirs=""
while IFS= read -r line; do
  case "$line" in
    +/*) dirs="$dirs\${line#+}
" ;;
    -/*) dirs=$(printf %s "$dirs" | grep -Fxv -- "\${line#-}"); dirs="$dirs\${dirs:+
}" ;;
    +*) pids="$pids\${line#+} " ;;
    -*) pids=$(printf %s "$pids" | sed "s/ \${line#-} / /") ;;
  esac
done
for pid in $pids; do kill -KILL "-$pid" 2>/dev/null; done
printf %s "$dirs" | while IFS= read -r dir; do rm -rf -- "$dir"; done
`;

let guardian: ChildProcess | undefined;

function tellGuardian(line: string): void {
  if (!guardian) {
    guardian = spawn("/bin/sh", ["-c", guardianScript], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    guardian.unref();
    // The pipe must not keep this process alive either.
    (guardian.stdin as unknown as { unref(): void }).unref();
    guardian.stdin?.on("error", () => {});
  }
  guardian.stdin?.write(`${line}\n`);
}

/** From now on the folder is removed when this process ends, however it ends. */
export function guardFolder(path: string): void {
  tellGuardian(`+${path}`);
}

export function releaseFolder(path: string): void {
  tellGuardian(`-${path}`);
}

/** Process ids of a group; those that have ended hold nothing, and nobody may reap them here. */
function groupMembers(id: number): number[] {
  return allProcesses()
    .filter(({ groupId, ended }) => groupId === id && !ended)
    .map(({ pid }) => pid);
}

function signalGroup(groupId: number, name: NodeJS.Signals): void {
  try {
    process.kill(-groupId, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function waitUntilGone(groupId: number, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (groupMembers(groupId).length > 0) {
    if (Date.now() > deadline) return false;
    await delay(10);
  }
  return true;
}

function makeGroup(pid: number, { output, lastWords }: Output): ProcessGroup {
  tellGuardian(`+${pid}`);
  const end = async (firstSignal: NodeJS.Signals) => {
    signalGroup(pid, firstSignal);
    if (!(await waitUntilGone(pid, stopTimeoutMs))) {
      signalGroup(pid, "SIGKILL");
      if (!(await waitUntilGone(pid, stopTimeoutMs)))
        throw new Error(`process group ${pid} cannot be killed: ${output()}`);
    }
    tellGuardian(`-${pid}`);
  };
  return {
    pid,
    output,
    lastWords,
    isAlive: () => isRunning(pid),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    signal: (name) => signalGroup(pid, name),
  };
}

type Output = Pick<ProcessGroup, "output" | "lastWords">;

function collectOutput(child: ChildProcess): Output {
  let text = "";
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
  for (const stream of streams)
    stream.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-65536);
    });
  const ends = Promise.all(streams.map((stream) => once(stream, "close")));
  const output = () => text.trim();
  const lastWords = async () => {
    // A child of it may hold the pipes open.
    await Promise.race([ends, delay(lastWordsTimeoutMs)]);
    return output();
  };
  return { output, lastWords };
}

/** Without the library of a sanitizer that this process itself may run under. */
function environment(): NodeJS.ProcessEnv {
  const { LD_PRELOAD: _, ...env } = process.env;
  return env;
}

/** Starts a server that stays in the foreground. */
export async function startForeground(command: string, args: string[]): Promise<ProcessGroup> {
  const child = spawn(command, args, {
    ...{ detached: true, env: environment() },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collectOutput(child);
  await once(child, "spawn");
  child.unref();
  return makeGroup(child.pid!, output);
}

/** Starts a server that goes into the background as its own session and writes a pid file. */
export async function startDaemon(
  command: string,
  args: string[],
  pidFile: string,
): Promise<ProcessGroup> {
  const child = spawn(command, args, {
    env: environment(),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const output = collectOutput(child);
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${command} exited with ${code}: ${await output.lastWords()}`);
  const deadline = Date.now() + 5000;
  for (;;) {
    const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
    if (pid > 0) return makeGroup(pid, output);
    if (Date.now() > deadline)
      throw new Error(`${command} wrote no ${pidFile}: ${output.output()}`);
    await delay(10);
  }
}

/**
 * Whether a server at this port of the loopback sends its greeting. It is waited for: nbd-server does
 * not survive a client that leaves before it. One that is killed meanwhile ends the connection
 * without a word, and without an error.
 */
export async function greets(port: number, signal?: AbortSignal): Promise<boolean> {
  const socket = connect({ port, host: "127.0.0.1", signal });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once("data", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("close", () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

/** True when somebody listens at the port. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
