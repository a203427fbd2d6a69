import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";

/**
 * Opens a file that exists (`mode=rw`: never creates one) and runs `sql`; closes it again where that
 * fails. Waits up to `timeoutMs` for locks of others. Throws SQLite's errors.
 */
export function openSqliteFile(path: string, timeoutMs: number, sql: string): DatabaseSync {
  const url = pathToFileURL(path);
  url.searchParams.set("mode", "rw");
  const db = new DatabaseSync(url, { timeout: timeoutMs });
  try {
    db.exec(sql);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}
