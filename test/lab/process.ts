// Real servers for the laboratory, each a process group of its own, none of which outlives us:
// stop() ends a group politely, then by force; and a guardian process does so, and removes our
// temporary folders, when this process dies without having done it (even by SIGKILL).

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const stopTimeoutMs = 3000;

/** A server's process group. `pid` is its leader and its id. */
export interface ProcessGroup {
  readonly pid: number;
  /** What the group printed so far (the last 64 KiB), for error messages and assertions. */
  output(): string;
  isAlive(): Promise<boolean>;
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

/** Process ids of a group, zombies left out: they hold nothing, and nobody may reap them here. */
async function groupMembers(groupId: number): Promise<number[]> {
  const members: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    // pid (command) state parent group …; the command may hold spaces and parentheses.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (Number(group) === groupId && state !== "Z" && state !== "X") members.push(Number(name));
  }
  return members;
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
  while ((await groupMembers(groupId)).length > 0) {
    if (Date.now() > deadline) return false;
    await delay(10);
  }
  return true;
}

function makeGroup(pid: number, output: () => string): ProcessGroup {
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
    isAlive: async () => (await groupMembers(pid)).includes(pid),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    signal: (name) => signalGroup(pid, name),
  };
}

function collectOutput(child: ChildProcess): () => string {
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-65536);
    });
  return () => text.trim();
}

/** Starts a server that stays in the foreground. */
export async function startForeground(command: string, args: string[]): Promise<ProcessGroup> {
  const child = spawn(command, args, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
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
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  const output = collectOutput(child);
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${command} exited with ${code}: ${output()}`);
  const deadline = Date.now() + 5000;
  for (;;) {
    const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
    if (pid > 0) return makeGroup(pid, output);
    if (Date.now() > deadline) throw new Error(`${command} wrote no ${pidFile}: ${output()}`);
    await delay(10);
  }
}

/** True when a server at the port greets with the given bytes. */
export async function greets(port: number, greeting: string, timeoutMs: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const [chunk] = (await once(socket, "data", { signal })) as [Buffer];
    return chunk.toString("latin1").startsWith(greeting);
  } catch {
    return false;
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
