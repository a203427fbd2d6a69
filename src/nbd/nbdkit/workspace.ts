/** The private directory of one nbdkit process: socket, VDDK's configuration, its temporary files. */
import { lstat, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { isRunning } from "../../process-identity.ts";

export interface Workspace {
  /** Mode 0700, with an unpredictable name. */
  readonly dir: string;
  readonly socketPath: string;
  remove(): Promise<void>;
}

/** What fits into sockaddr_un on Linux, without the closing NUL. */
const socketPathBytesMax = 107;
const prefix = "migratekit-nbdkit-";

/** The name carries our process ID, so that `removeNbdkitLeftovers` can tell dead owners. */
export async function makeWorkspace(parentDir = tmpdir()): Promise<Workspace> {
  const dir = await mkdtemp(join(placeFor(parentDir), `${prefix}${process.pid}-`)).catch(
    (error) => {
      throw new MigratekitError(
        "source-open",
        `no private directory for nbdkit could be made in ${parentDir}: ${messageOf(error)}`,
        {
          cause: error,
          remedy: "Check the owner, mode and free space of the temporary directory.",
        },
      );
    },
  );
  return {
    dir,
    socketPath: join(dir, "nbd.sock"),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

/**
 * VDDK's own configuration. The two nfcAio values make asynchronous reads of 1 MiB run at speed
 * (nbdkit-vddk-plugin(1) and VMware's "Best Practices for NBD Transport"); tmpDirectory keeps what
 * VDDK leaves behind inside our directory. An operator's file is used as it is.
 */
export async function vddkConfigFile(workspace: Workspace, given?: string): Promise<string> {
  if (given !== undefined) return readable(resolve(given));
  const path = join(workspace.dir, "vddk.conf");
  const lines = [
    "vixDiskLib.nfcAio.Session.BufSizeIn64KB=16",
    "vixDiskLib.nfcAio.Session.BufCount=4",
    `tmpDirectory="${workspace.dir}"`,
  ];
  await writeFile(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  return path;
}

/** Directories of this user whose owner is gone, as `removeNbdkitLeftovers` would take them up. */
export async function findNbdkitLeftovers(parentDir = tmpdir()): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(placeFor(parentDir)).catch(() => [])) {
    const owner = /^migratekit-nbdkit-(\d+)-\w+$/.exec(name)?.[1];
    if (owner === undefined || isRunning(Number(owner))) continue;
    const dir = join(placeFor(parentDir), name);
    const status = await lstat(dir).catch(() => undefined); // gone by now
    if (status?.isDirectory() && status.uid === process.getuid?.()) found.push(dir);
  }
  return found;
}

/**
 * Removes what runs left behind that were killed before they could clean up: their directories,
 * and an nbdkit of theirs that outlived them (one whose VDDK read hangs ignores SIGTERM). Only
 * directories of this user whose owner is gone, and only processes that name such a directory's
 * socket on their command line. Gives the directories removed.
 */
export async function removeNbdkitLeftovers(
  logger: Logger,
  parentDir = tmpdir(),
): Promise<string[]> {
  const removed: string[] = [];
  for (const dir of await findNbdkitLeftovers(parentDir)) {
    try {
      const killed = await killUsersOf(join(dir, "nbd.sock"));
      // Served by nobody we can see: its run is alive in another PID namespace.
      if (killed.length === 0 && (await accepts(join(dir, "nbd.sock")))) continue;
      await rm(dir, { recursive: true, force: true });
      logger.info({ dir, killed }, "removed what an earlier run's nbdkit left behind");
      removed.push(dir);
    } catch (error) {
      logger.warn({ dir, error: messageOf(error) }, "could not remove an old nbdkit directory");
    }
  }
  return removed;
}

/** A long TMPDIR leaves no room for a socket's path. */
function placeFor(parentDir: string): string {
  const longest = join(parentDir, `${prefix}4194304-XXXXXX/nbd.sock`);
  return Buffer.byteLength(longest) <= socketPathBytesMax ? parentDir : "/tmp";
}

async function readable(path: string): Promise<string> {
  try {
    if ((await stat(path)).isFile()) return path;
  } catch (error) {
    throw configError(path, messageOf(error), error);
  }
  throw configError(path, "it is not a file");
}

function configError(path: string, reason: string, cause?: unknown): MigratekitError {
  return new MigratekitError("usage", `the VDDK configuration ${path} cannot be used: ${reason}`, {
    cause,
    remedy: "Correct --vddk-config, or leave it out.",
  });
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

function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.on("connect", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
