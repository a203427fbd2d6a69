/** Which processes have a file open, by what /proc says: also those of servers that take no locks. */

import { type BigIntStats, readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { commandLineOf } from "../../process-table.ts";

export interface Holder {
  readonly pid: number;
  readonly commandLine: string;
}

/** `except`: processes that may have it open. */
export function holdersOf(file: string, except: ReadonlySet<number> = new Set()): Holder[] {
  const wanted = identityOf(file);
  if (wanted === undefined) return [];
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && !except.has(Number(name)))
    .filter((name) => hasOpen(join("/proc", name, "fd"), wanted))
    .map((name) => ({ pid: Number(name), commandLine: commandLineOf(Number(name)) }));
}

function hasOpen(folder: string, wanted: BigIntStats): boolean {
  try {
    return readdirSync(folder).some((name) => {
      const path = join(folder, name);
      // Most are sockets and pipes: their names need no look at what they lead to.
      if (!readlinkSync(path).startsWith("/")) return false;
      const found = identityOf(path);
      return found?.ino === wanted.ino && found.dev === wanted.dev;
    });
  } catch {
    return false; // it ended, or is another user's
  }
}

function identityOf(path: string): BigIntStats | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}
