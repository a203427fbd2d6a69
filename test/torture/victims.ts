// Who can be killed, found in /proc as a murderer would.

import { readdirSync, readFileSync } from "node:fs";

/** Kills every nbdkit below a process; after its re-exec it is called `exe`, its arguments tell. */
export function killNbdkitBelow(pid: number): void {
  for (const child of descendants(pid)) {
    if (!/\bnbdkit\b/.test(commandLine(child))) continue;
    try {
      process.kill(child, "SIGKILL");
    } catch {
      // It was faster.
    }
  }
}

/** Command lines and PIDs of processes that name a folder. */
export function processesUsing(folder: string): string[] {
  return allProcesses()
    .map((pid) => `${pid} ${commandLine(pid)}`)
    .filter((text) => text.includes(folder));
}

function descendants(pid: number): number[] {
  const parents = new Map(allProcesses().map((each) => [each, parentOf(each)]));
  const isBelow = (each: number): boolean => {
    const parent = parents.get(each);
    return parent !== undefined && parent > 1 && (parent === pid || isBelow(parent));
  };
  return [...parents.keys()].filter(isBelow);
}

function allProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const parent = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
  return parent === undefined ? undefined : Number(parent);
}

function commandLine(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
