/** The programs that work for a folder, found by what their environment says. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { hasSystemCode } from "../../errors.ts";

/** In the environment of each of them, so of those that they start themselves: qemu, qemu-nbd, nbdkit. */
export const folderVariable = "MIGRATEKIT_GUEST_WORK";

const termTimeoutMs = 2_000;
const killTimeoutMs = 5_000;
const pollMs = 20;

/** PIDs of this user's programs that work for `folder`. */
export async function processesOf(folder: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // Another user's cannot be read, and a process that has just ended has none.
    const environment = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
    if (environment.split("\0").includes(`${folderVariable}=${folder}`)) found.push(Number(name));
  }
  return found;
}

/** Ends them all: SIGTERM, a bounded wait, SIGKILL, until there is none. Gives the PIDs met. */
export async function endProcessesOf(folder: string): Promise<number[]> {
  const met = new Set<number>();
  const startMs = performance.now();
  for (;;) {
    const pids = await processesOf(folder);
    if (pids.length === 0) break;
    const elapsedMs = performance.now() - startMs;
    if (elapsedMs > termTimeoutMs + killTimeoutMs) break;
    for (const pid of pids) {
      // One polite signal each; what is left when the time is up is killed, however new it is.
      if (elapsedMs > termTimeoutMs) signal(pid, "SIGKILL");
      else if (!met.has(pid)) signal(pid, "SIGTERM");
      met.add(pid);
    }
    await sleep(pollMs);
  }
  return [...met];
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!hasSystemCode(error, "ESRCH")) throw error;
  }
}
