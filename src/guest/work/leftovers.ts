/** What conversions that were killed left behind: programs that still run, overlays, sockets. */
import { lstat, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { messageOf } from "../../errors.ts";
import { listenerAt } from "../../living-mark.ts";
import { folderName, markOf } from "./names.ts";
import { endProcessesOf } from "./processes.ts";

/** A folder without a mark is being made just now, or its maker died in that moment. */
const unmarkedAgeMs = 60_000;

/** Work folders of this user in `parent` whose run has ended. */
export async function findLeftovers(parent: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(parent).catch(() => [])) {
    if (!folderName.test(name)) continue;
    const folder = join(parent, name);
    const status = await lstat(folder).catch(() => undefined); // gone by now
    if (!status?.isDirectory() || status.uid !== process.getuid?.()) continue;
    const owner = await listenerAt(markOf(folder));
    const old = Date.now() - status.mtimeMs > unmarkedAgeMs;
    if (owner === "none" || (owner === "missing" && old)) found.push(folder);
  }
  return found;
}

/** Ends and removes them; one that cannot be cleared is logged, and harms nobody. Gives the folders removed. */
export async function clearLeftovers(parent: string, logger: Logger): Promise<string[]> {
  const removed: string[] = [];
  for (const folder of await findLeftovers(parent)) {
    try {
      const ended = await endProcessesOf(folder);
      await rm(folder, { recursive: true, force: true });
      logger.info({ folder, ended }, "removed what an earlier conversion left behind");
      removed.push(folder);
    } catch (error) {
      logger.warn({ folder, error: messageOf(error) }, "could not remove an old work folder");
    }
  }
  return removed;
}
