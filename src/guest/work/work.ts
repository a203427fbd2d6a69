/**
 * The private folder of one conversion or boot: overlays, sockets, and whatever the programs that work
 * on the guest leave behind. All of them carry its path in their environment, by which they are found.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { listenAt, socketPathBytesMax } from "../../living-mark.ts";
import { clearLeftovers } from "./leftovers.ts";
import { folderPrefix, markOf } from "./names.ts";
import { endProcessesOf, folderVariable } from "./processes.ts";

export interface WorkFolder extends AsyncDisposable {
  /** Mode 0700, with an unpredictable name. */
  readonly path: string;
  /** The whole environment of a program that works for this folder. */
  readonly env: Readonly<Record<string, string>>;
}

export interface WorkFolderOptions {
  readonly logger: Logger;
  /** Where it is made: room for overlays is needed there. [TMPDIR] */
  readonly parent?: string;
}

/** The longest that libguestfs and virt-v2v make of a socket below TMPDIR. */
const longestSocket = "/t/libguestfsXXXXXX/guestfsd.sock";

/**
 * Clears what dead runs left in `parent`, then makes a folder there. Its undo ends every program that
 * works for it, those of a library's library too, and removes all.
 * @throws MigratekitError `work-folder-unusable`
 */
export async function makeWorkFolder(options: WorkFolderOptions): Promise<WorkFolder> {
  const { logger } = options;
  const parent = resolve(options.parent ?? tmpdir());
  const bytes = Buffer.byteLength(`${parent}/${folderPrefix}XXXXXX${longestSocket}`);
  if (bytes > socketPathBytesMax) {
    throw new MigratekitError(
      "work-folder-unusable",
      `the path of the temporary folder ${parent} is too long for the sockets that have to lie in it`,
      { remedy: "Set TMPDIR to a folder with a shorter path." },
    );
  }
  await clearLeftovers(parent, logger);
  try {
    const path = await mkdtemp(join(parent, folderPrefix));
    const mark = await listenAt(markOf(path));
    await mkdir(join(path, "t"));
    const remove = async () => {
      await endProcessesOf(path);
      mark.close();
      await rm(path, { recursive: true, force: true });
    };
    return { path, env: environmentIn(path), [Symbol.asyncDispose]: remove };
  } catch (error) {
    throw new MigratekitError(
      "work-folder-unusable",
      `no private folder could be made in ${parent}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * libguestfs keeps its appliance, which takes a while to build, where it always does; everything else
 * goes into the folder.
 */
function environmentIn(path: string): Record<string, string> {
  // biome-ignore lint/style/noProcessEnv: handed on to children, not a setting of ours
  const { PATH, LIBGUESTFS_CACHEDIR, LIBGUESTFS_PATH, VIRT_TOOLS_DATA_DIR } = process.env;
  const temporary = join(path, "t");
  return {
    PATH: PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    LANG: "C",
    HOME: path,
    TMPDIR: temporary,
    XDG_RUNTIME_DIR: temporary,
    VIRT_V2V_TMPDIR: temporary,
    LIBGUESTFS_CACHEDIR: LIBGUESTFS_CACHEDIR ?? "/var/tmp",
    ...(LIBGUESTFS_PATH === undefined ? {} : { LIBGUESTFS_PATH }),
    ...(VIRT_TOOLS_DATA_DIR === undefined ? {} : { VIRT_TOOLS_DATA_DIR }),
    LIBGUESTFS_BACKEND: "direct",
    [folderVariable]: path,
  };
}
