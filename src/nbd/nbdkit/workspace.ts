/** The private directory of one nbdkit process: socket, VDDK's configuration, its temporary files. */
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { MigratekitError, messageOf } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";
import { listenAt, socketPathBytesMax } from "../../living-mark.ts";

export interface Workspace {
  /** Mode 0700, with an unpredictable name. */
  readonly dir: string;
  readonly socketPath: string;
  remove(): Promise<void>;
}

const prefix = "migratekit-nbdkit-";

/** A directory of ours by its name, which carries the PID of its maker for people to read. */
export const workspaceName = /^migratekit-nbdkit-\d+-\w+$/;

/** Of the maker: it listens there as long as it lives, and the kernel sees to the rest. */
export const markOf = (dir: string): string => join(dir, "owner");
/** Of nbdkit. */
export const socketOf = (dir: string): string => join(dir, "nbd.sock");

/**
 * Makes a directory and marks it as in use, until it is removed or this process has ended, however that
 * ends: leftovers.ts finds by the mark which are nobody's.
 * @throws MigratekitError `source-open`
 */
export async function makeWorkspace(parentDir = tmpdir()): Promise<Workspace> {
  let dir: string | undefined;
  try {
    dir = await mkdtemp(join(placeFor(parentDir), `${prefix}${process.pid}-`));
    return workspaceOf(dir, await listenAt(markOf(dir)));
  } catch (error) {
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
    throw new MigratekitError(
      "source-open",
      `no private directory for nbdkit could be made in ${parentDir}: ${messageOf(error)}`,
      {
        cause: error,
        remedy: "Check the owner, mode and free space of the temporary directory.",
      },
    );
  }
}

function workspaceOf(dir: string, mark: Server): Workspace {
  return {
    dir,
    socketPath: socketOf(dir),
    remove: async () => {
      mark.close();
      await rm(dir, { recursive: true, force: true });
    },
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

/** A long TMPDIR leaves no room for a socket's path. */
export function placeFor(parentDir: string): string {
  const longest = join(parentDir, `${prefix}4194304-XXXXXX/nbd.sock`);
  return Buffer.byteLength(longest) <= socketPathBytesMax ? parentDir : "/tmp";
}

async function readable(path: string): Promise<string> {
  try {
    if ((await stat(path)).isFile()) return path;
  } catch (error) {
    throw configError(path, fileProblem(error), error);
  }
  throw configError(path, "it is not a file");
}

function configError(path: string, reason: string, cause?: unknown): MigratekitError {
  return new MigratekitError("usage", `the VDDK configuration ${path} cannot be used: ${reason}`, {
    cause,
    remedy: "Correct --vddk-config, or leave it out.",
  });
}
