import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import {
  checkPrivateFile,
  createPrivateFile,
  ensurePrivateDirectory,
} from "../database/directory.ts";
import { isBusy, stateFailure } from "../database/failure.ts";
import { openSqliteFile } from "../database/sqlite-file.ts";

/** Where all locks of a state directory lie. */
export function locksDirectory(stateDir: string): string {
  return join(stateDir, "locks");
}

/**
 * Makes sure that the lock file is there, with its directories. It stays for good: removing it while
 * another process opens it would make two locks. Throws `state-unusable`.
 */
export function prepareLockFile(stateDir: string, lockPath: string): void {
  ensurePrivateDirectory(stateDir);
  ensurePrivateDirectory(locksDirectory(stateDir));
  if (checkPrivateFile(lockPath) === undefined) createPrivateFile(lockPath);
}

/**
 * Takes the lock, waiting up to `timeoutMs` for another connection to give it back, as closing the
 * returned database does. Throws `state-unusable`; `what` continues "… failed".
 */
export function takeLock(what: string, lockPath: string, timeoutMs: number): DatabaseSync {
  try {
    return lock(lockPath, timeoutMs);
  } catch (error) {
    throw stateFailure(what, lockPath, error);
  }
}

/** The same, but undefined where another connection keeps the lock for all of `timeoutMs`. */
export function tryLock(
  what: string,
  lockPath: string,
  timeoutMs: number,
): DatabaseSync | undefined {
  try {
    return lock(lockPath, timeoutMs);
  } catch (error) {
    if (isBusy(error)) return undefined;
    throw stateFailure(what, lockPath, error);
  }
}

/**
 * An IMMEDIATE transaction takes one write lock in one step (an EXCLUSIVE one needs three, and two
 * processes that start together can make each other fail). Nothing is ever committed to the file.
 */
function lock(lockPath: string, timeoutMs: number): DatabaseSync {
  return openSqliteFile(lockPath, timeoutMs, "BEGIN IMMEDIATE");
}
