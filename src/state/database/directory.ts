import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  type Stats,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { hasSystemCode, MigratekitError } from "../../errors.ts";
import { stateFailure } from "./failure.ts";

const privateDirectoryMode = 0o700;
const privateFileMode = 0o600;

/**
 * Makes sure that `dir` is a directory of ours that nobody else can write to; creates it (0700,
 * whatever the umask) with its parents where missing. A directory that exists is never changed.
 * Throws `state-unusable`.
 */
export function ensurePrivateDirectory(dir: string): void {
  const what = "Preparing the state directory";
  const found = lstatOf(dir, what);
  if (found !== undefined) {
    checkDirectory(dir, found);
    return;
  }
  try {
    makePrivateDirectories(resolve(dir));
  } catch (error) {
    throw stateFailure("Creating the state directory", dir, error);
  }
  checkDirectory(dir, lstatSync(dir)); // another process may have been faster
}

/**
 * One directory after another: `mkdirSync` with `recursive` never returns (Node 24) where the
 * parent exists and mkdir(2) still says ENOENT, as in /proc.
 */
function makePrivateDirectories(dir: string): void {
  const parent = dirname(dir);
  if (!existsSync(parent)) makePrivateDirectories(parent);
  try {
    mkdirSync(dir, privateDirectoryMode);
  } catch (error) {
    if (hasSystemCode(error, "EEXIST")) return; // another process was faster
    throw error;
  }
  chmodSync(dir, privateDirectoryMode); // the umask may have taken bits away
  syncDirectory(parent);
}

/** Throws `state-unusable` unless files can be made in `dir`. */
export function checkWritable(dir: string): void {
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw stateFailure("Writing to the state directory", dir, error);
  }
}

function checkDirectory(dir: string, stats: Stats): void {
  if (stats.isSymbolicLink()) {
    refuse(dir, "it is a symbolic link", "Give the directory that it points to as --state-dir.");
  }
  if (!stats.isDirectory()) refuse(dir, "it is not a directory", "Give another --state-dir.");
  checkOwner(dir, stats);
  if ((stats.mode & 0o022) !== 0) {
    refuse(dir, "others may write to it", `Run chmod 700 ${dir}, or give another --state-dir.`);
  }
}

/**
 * The file's stats if it exists, is a plain file and belongs to us; undefined if it does not
 * exist. Does not open it: closing any descriptor of a file drops this process's POSIX locks on
 * it, those that SQLite holds included.
 */
export function checkPrivateFile(path: string): Stats | undefined {
  const stats = lstatOf(path, "Looking at a state file");
  if (stats === undefined) return undefined;
  if (stats.isSymbolicLink()) refuse(path, "it is a symbolic link", `Remove ${path}.`);
  if (!stats.isFile()) refuse(path, "it is not a plain file", `Move ${path} away.`);
  checkOwner(path, stats);
  if ((stats.mode & 0o077) !== 0) {
    try {
      chmodSync(path, privateFileMode);
    } catch (error) {
      if (!hasSystemCode(error, "EROFS")) throw stateFailure("Protecting a file", path, error);
    }
  }
  return stats;
}

/** Creates an empty file (0600, whatever the umask); returns false if there is one already. */
export function createPrivateFile(path: string): boolean {
  try {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
    const fd = openSync(path, flags, privateFileMode);
    try {
      fchmodSync(fd, privateFileMode);
    } finally {
      closeSync(fd);
    }
    return true;
  } catch (error) {
    if (hasSystemCode(error, "EEXIST")) return false;
    throw stateFailure("Creating a state file", path, error);
  }
}

/** Makes the names in a directory durable: what was created or renamed survives a power cut. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function checkOwner(path: string, stats: Stats): void {
  const uid = process.geteuid?.() ?? stats.uid;
  if (stats.uid === uid) return;
  refuse(
    path,
    `it belongs to uid ${stats.uid}, and this process runs as uid ${uid}`,
    "Run migratekit as the owner of the state directory, or give another --state-dir.",
  );
}

function refuse(path: string, reason: string, remedy: string): never {
  throw new MigratekitError("state-unusable", `The state in ${path} was refused: ${reason}`, {
    remedy,
    context: { path },
  });
}

function lstatOf(path: string, what: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw stateFailure(what, path, error);
  }
}
