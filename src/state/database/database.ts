import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { MigratekitError } from "../../errors.ts";
import { locksDirectory, prepareLockFile, takeLock } from "../lock/file-lock.ts";
import {
  checkPrivateFile,
  checkWritable,
  createPrivateFile,
  ensurePrivateDirectory,
  syncDirectory,
} from "./directory.ts";
import { isDatabaseError, moveAwayRemedy, stateFailure } from "./failure.ts";
import { checkFileSystem } from "./file-system.ts";
import { Row } from "./row.ts";
import { applicationId, migrate, migrations } from "./schema.ts";
import { openSqliteFile } from "./sqlite-file.ts";

export const databaseFileName = "migratekit.db";

/** A run's checkpoint waits so long for other runs; their transactions take milliseconds. */
const busyTimeoutMs = 10_000;

/**
 * The one database in the state directory: what must outlive a run. Every method that touches the
 * file throws `state-unusable` with a way out; a file that is damaged, foreign or newer than this
 * program is refused and left as it is. Safe for several processes at once and for death at any
 * moment: a commit is on the disk before the call returns (rollback journal with
 * `synchronous=EXTRA`, which also syncs the directory; one file at rest, unlike WAL, so that
 * moving it away cannot leave half of it behind).
 */
export class StateDatabase implements Disposable {
  readonly stateDir: string;
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(stateDir: string, path: string, db: DatabaseSync) {
    this.stateDir = stateDir;
    this.path = path;
    this.#db = db;
  }

  /** Opens the state for a run; creates the directory (0700) and the file (0600) where missing. */
  static open(stateDir: string, steps: readonly string[] = migrations): StateDatabase {
    checkFileSystem(stateDir);
    ensurePrivateDirectory(stateDir);
    checkWritable(stateDir);
    const path = join(stateDir, databaseFileName);
    if (checkPrivateFile(path) === undefined) createDatabase(stateDir, path, steps);
    return StateDatabase.#openFile(stateDir, path, steps);
  }

  /** Opens the state only to look at it (check, history): undefined where there is none yet. */
  static openExisting(stateDir: string): StateDatabase | undefined {
    const path = join(stateDir, databaseFileName);
    if (checkPrivateFile(path) === undefined) return undefined;
    checkFileSystem(stateDir);
    ensurePrivateDirectory(stateDir);
    return StateDatabase.#openFile(stateDir, path, migrations);
  }

  static #openFile(stateDir: string, path: string, steps: readonly string[]): StateDatabase {
    const size = checkPrivateFile(path)?.size;
    if (size === 0) refuse(path, "is empty: it was truncated"); // creation never leaves it so
    const db = openDatabase(path);
    try {
      const version = readVersion(db, path, steps.length);
      checkIntegrity(db, path);
      if (version < steps.length) upgrade(db, steps);
      return new StateDatabase(stateDir, path, db);
    } catch (error) {
      db.close();
      throw stateFailure("Opening the state database", path, error);
    }
  }

  /**
   * Runs `body` in one durable transaction: all of it is on the disk when this returns, or none.
   * `what` continues "… failed" in the error. `body` must not call `transaction` again.
   */
  transaction<T>(what: string, body: () => T): T {
    return this.#between("BEGIN IMMEDIATE", what, body);
  }

  /** Runs `body`, which only reads, on one consistent view of the database. */
  view<T>(what: string, body: () => T): T {
    return this.#between("BEGIN", what, body);
  }

  #between<T>(begin: string, what: string, body: () => T): T {
    try {
      this.#db.exec(begin);
      const result = body();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      rollBack(this.#db);
      // A mistake of ours must stay visible as one.
      throw isDatabaseError(error) ? stateFailure(what, this.path, error) : error;
    }
  }

  /** Only inside `transaction`. Returns how many rows changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  /** Only inside `transaction` or `view`. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    const columns = this.#prepare(sql).get(...values);
    return columns === undefined ? undefined : new Row(columns, this.path);
  }

  /** Only inside `transaction` or `view`. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql)
      .all(...values)
      .map((columns) => new Row(columns, this.path));
  }

  /** May be called twice. */
  close(): void {
    if (!this.#db.isOpen) return;
    this.#statements.clear();
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * Makes the file under another name, complete with its tables, and then gives it its own: so an
 * empty or half-made file under that name always means damage. Processes that start together do so
 * one after the other, under a lock of its own: SQLite finds a rollback journal by its file's name
 * alone, so one who had opened the file under the first name, and met there the journal of another
 * just begun, would roll back, that is empty, the finished one.
 */
function createDatabase(stateDir: string, path: string, steps: readonly string[]): void {
  const what = "Creating the state database";
  const lockPath = join(locksDirectory(stateDir), `${databaseFileName}.lock`);
  prepareLockFile(stateDir, lockPath);
  const lock = takeLock(what, lockPath, busyTimeoutMs);
  try {
    if (checkPrivateFile(path) === undefined) createUnderLock(stateDir, path, steps);
  } catch (error) {
    throw stateFailure(what, path, error);
  } finally {
    lock.close();
  }
}

function createUnderLock(stateDir: string, path: string, steps: readonly string[]): void {
  const temporary = `${path}.new`;
  checkPrivateFile(temporary);
  for (const left of [temporary, `${temporary}-journal`]) rmSync(left, { force: true }); // by one killed
  createPrivateFile(temporary);
  const db = openDatabase(temporary);
  try {
    upgrade(db, steps);
  } finally {
    db.close();
  }
  renameSync(temporary, path);
  syncDirectory(stateDir);
}

/** Opens a file that exists; sets what holds per connection. */
function openDatabase(path: string): DatabaseSync {
  const settings = "PRAGMA synchronous = EXTRA; PRAGMA trusted_schema = OFF";
  try {
    return openSqliteFile(path, busyTimeoutMs, settings);
  } catch (error) {
    throw stateFailure("Opening the state database", path, error);
  }
}

/** The schema version of a file of ours; refuses any other. The first to read the file. */
function readVersion(db: DatabaseSync, path: string, newest: number): number {
  const application = Number(db.prepare("PRAGMA application_id").get()?.application_id);
  const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
  if (application !== applicationId || version < 1) {
    refuse(path, "is not a database of migratekit");
  }
  if (version > newest) {
    throw new MigratekitError(
      "state-unusable",
      `The state database ${path} has schema version ${version}; this migratekit knows ${newest}`,
      {
        remedy: `Use the newer migratekit that wrote it. Or: ${moveAwayRemedy(path)}`,
        context: { path, version },
      },
    );
  }
  return version;
}

/** Reads every page. The file stays small, as all of its tables are bounded. */
function checkIntegrity(db: DatabaseSync, path: string): void {
  const row = db.prepare("PRAGMA quick_check(1)").get();
  const finding = String(row?.quick_check ?? "no answer");
  if (finding !== "ok") refuse(path, `is damaged: ${finding.replaceAll(/\s+/g, " ")}`);
}

function upgrade(db: DatabaseSync, steps: readonly string[]): void {
  // A table that others refer to is made anew without its rows' dependants (sqlite.org/lang_altertable.html).
  db.exec("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE");
  try {
    // Read again under the lock: another process may have upgraded in the meantime.
    const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
    if (version < steps.length) migrate(db, version, steps);
    db.exec("COMMIT");
  } finally {
    rollBack(db);
    db.exec("PRAGMA foreign_keys = ON");
  }
}

/** SQLite ends some failed transactions by itself (disk full); then there is nothing to do. */
function rollBack(db: DatabaseSync): void {
  if (!db.isOpen || !db.isTransaction) return;
  try {
    db.exec("ROLLBACK");
  } catch {
    // The rollback journal stays, and the next to open the file rolls back; the first error counts.
  }
}

function refuse(path: string, finding: string): never {
  throw new MigratekitError("state-unusable", `The state database ${path} ${finding}`, {
    remedy: moveAwayRemedy(path),
    context: { path },
  });
}
