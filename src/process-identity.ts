import { readFileSync } from "node:fs";

/** One process of one boot of one machine; a PID alone is used again after a while. */
export interface ProcessIdentity {
  readonly pid: number;
  /** The kernel's ID of this boot; empty where there is no /proc. */
  readonly bootId: string;
  /** When the process started, in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: string;
}

/** This process. Without /proc, boot ID and start are empty, and nothing can be said of it later. */
export function ownProcess(): ProcessIdentity {
  return {
    pid: process.pid,
    bootId: readBootId(),
    startTicks: readStartTicks(process.pid) ?? "",
  };
}

/** `unknown`: the process belongs to another machine, or to another boot as seen from there. */
export function isAlive(identity: ProcessIdentity): "alive" | "dead" | "unknown" {
  if (identity.bootId === "" || identity.bootId !== readBootId()) return "unknown";
  return readStartTicks(identity.pid) === identity.startTicks ? "alive" : "dead";
}

function readBootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

function readStartTicks(pid: number): string | undefined {
  return readStat(pid)?.[22 - 3];
}

/** Fields of /proc/PID/stat (proc(5)) from the third on, the state; undefined: there is no such process. */
function readStat(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in field 2 may hold spaces and parentheses: count from its closing one.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
