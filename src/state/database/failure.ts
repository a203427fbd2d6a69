import { hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";

/** Primary result codes of SQLite that need their own words (sqlite.org/rescode.html). */
const sqlitePrimary = {
  permission: 3,
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const;

/** SQLite's primary result code of an error of node:sqlite, or undefined for any other error. */
function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode & 0xff : undefined;
}

/** True for what SQLite itself reported, false for mistakes in how it was called. */
export function isDatabaseError(error: unknown): boolean {
  return sqliteCode(error) !== undefined;
}

/** Another connection kept the file locked for longer than was waited for. */
export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === sqlitePrimary.busy;
}

/**
 * Turns whatever a file or database operation threw into a `state-unusable` error.
 * `what` continues "… failed", e.g. "Writing the resume journal of disk 2000".
 * Foreseen errors pass through unchanged.
 */
export function stateFailure(what: string, path: string, error: unknown): MigratekitError {
  if (error instanceof MigratekitError) return error;
  const { reason, remedy } = explain(path, error);
  return new MigratekitError("state-unusable", `${what} failed: ${path}: ${reason}`, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
    context: { path },
  });
}

function explain(path: string, error: unknown): { reason: string; remedy?: string } {
  const code = sqliteCode(error);
  if (code === sqlitePrimary.full || hasSystemCode(error, "ENOSPC", "EDQUOT")) {
    return {
      reason: "no space left (disk or quota full)",
      remedy: "Free some space there, or give another --state-dir; what was stored is intact.",
    };
  }
  if (code === sqlitePrimary.readOnly || hasSystemCode(error, "EROFS")) {
    return { reason: "the file or its file system is read-only" };
  }
  if (code === sqlitePrimary.corrupt || code === sqlitePrimary.notADatabase) {
    return { reason: messageOf(error), remedy: moveAwayRemedy(path) };
  }
  if (code === sqlitePrimary.busy) {
    return {
      reason: "another process keeps the database locked",
      remedy: "Look for a hanging migratekit process (fuser on the file names it).",
    };
  }
  if (hasSystemCode(error, "EACCES", "EPERM") || code === sqlitePrimary.permission) {
    return { reason: `permission denied (running as uid ${process.geteuid?.() ?? "unknown"})` };
  }
  if (hasSystemCode(error, "ENOTDIR")) {
    return { reason: "a part of the path is not a directory" };
  }
  if (code === sqlitePrimary.ioError) {
    return {
      reason: `${messageOf(error)} (the system refused to read or write)`,
      remedy: "Look for the file system's errors in the kernel log, and for limits on file sizes.",
    };
  }
  return { reason: messageOf(error) };
}

/** The way out of a file that cannot be used; `path*` takes SQLite's rollback journal along. */
export function moveAwayRemedy(path: string): string {
  return `Move ${path}* away (keep it for analysis); the next run then starts with a full copy.`;
}
