/** What /proc says of the processes of this machine. They end while they are looked at: then nothing. */

import { readdirSync, readFileSync } from "node:fs";

export interface ProcessStatus {
  readonly pid: number;
  readonly parentPid: number;
  readonly groupId: number;
  /** Z and X: ended, it holds nothing any more, and nobody has reaped it. */
  readonly ended: boolean;
}

export function allProcesses(): ProcessStatus[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statusOf(Number(name)) ?? []);
}

export function statusOf(pid: number): ProcessStatus | undefined {
  const stat = readWhileItLives(`/proc/${pid}/stat`).toString("latin1");
  if (stat === "") return undefined;
  // pid (command) state parent group …; the command may hold spaces and parentheses.
  const [state = "", parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ended = state === "Z" || state === "X";
  return { pid, parentPid: Number(parent), groupId: Number(group), ended };
}

export function isRunning(pid: number): boolean {
  return statusOf(pid)?.ended === false;
}

/** Its children, theirs and so on, in this order; without itself. */
export function descendantsOf(pid: number): ProcessStatus[] {
  const byParent = Map.groupBy(allProcesses(), ({ parentPid }) => parentPid);
  const found = [...(byParent.get(pid) ?? [])];
  for (const each of found) found.push(...(byParent.get(each.pid) ?? []));
  return found;
}

/** Words with spaces between. */
export function commandLineOf(pid: number): string {
  return readWhileItLives(`/proc/${pid}/cmdline`).toString().replaceAll("\0", " ");
}

/** Command lines that hold a text, this process's own left out. */
export function processesNaming(text: string): { pid: number; commandLine: string }[] {
  return allProcesses()
    .map(({ pid }) => ({ pid, commandLine: commandLineOf(pid) }))
    .filter(({ pid, commandLine }) => pid !== process.pid && commandLine.includes(text));
}

function readWhileItLives(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
