/** What nbdkit processes of dead runs left behind: found, ended, removed. */
import { lstat, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { messageOf } from "../../errors.ts";
import { listenerAt } from "../../living-mark.ts";
import { markOf, placeFor, socketOf, workspaceName } from "./workspace.ts";

/**
 * Directories of this user whose maker has ended. Its PID proves nothing: another process may have it by
 * now, and that of a container is not ours to see. Whether somebody listens at the mark is seen from
 * everywhere on one file system.
 */
export async function findNbdkitLeftovers(parentDir = tmpdir()): Promise<string[]> {
  const found: string[] = [];
  const place = placeFor(parentDir);
  for (const name of await readdir(place).catch(() => [])) {
    if (!workspaceName.test(name)) continue;
    const dir = join(place, name);
    const status = await lstat(dir).catch(() => undefined); // gone by now
    if (!status?.isDirectory() || status.uid !== process.getuid?.()) continue;
    if (await isAbandoned(dir, status.mtimeMs)) found.push(dir);
  }
  return found;
}

/** Without a mark it is being made just now, or an older version made it. */
const unmarkedAgeMs = 3_600_000;

async function isAbandoned(dir: string, changedAtMs: number): Promise<boolean> {
  const mark = await listenerAt(markOf(dir));
  if (mark !== "missing") return mark === "none";
  if (Date.now() - changedAtMs <= unmarkedAgeMs) return false;
  return (await listenerAt(socketOf(dir))) !== "some";
}

/**
 * Removes what runs left behind that were killed before they could clean up: their directories,
 * and an nbdkit of theirs that outlived them (one whose VDDK read hangs ignores SIGTERM). Only
 * directories of this user whose maker has ended, and only processes that name such a directory's
 * socket on their command line. Gives the directories removed.
 */
export async function removeNbdkitLeftovers(
  logger: Logger,
  parentDir = tmpdir(),
): Promise<string[]> {
  const removed: string[] = [];
  for (const dir of await findNbdkitLeftovers(parentDir)) {
    try {
      const socketPath = socketOf(dir);
      const killed = await killUsersOf(socketPath);
      // Served by nobody whom we can see and end, in a container: it is left to those who can.
      if (killed.length === 0 && (await listenerAt(socketPath)) === "some") continue;
      await rm(dir, { recursive: true, force: true });
      logger.info({ dir, killed }, "removed what an earlier run's nbdkit left behind");
      removed.push(dir);
    } catch (error) {
      logger.warn({ dir, error: messageOf(error) }, "could not remove an old nbdkit directory");
    }
  }
  return removed;
}

/** Finds processes by command line, as a process ID written down earlier may be somebody else's by now. */
async function killUsersOf(socketPath: string): Promise<number[]> {
  const killed: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const commandLine = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    const args = commandLine.split("\0");
    if (args[args.indexOf("--unix") + 1] !== socketPath || !args.includes("--unix")) continue;
    process.kill(Number(name), "SIGKILL");
    killed.push(Number(name));
  }
  return killed;
}
