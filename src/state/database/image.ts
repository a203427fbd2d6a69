/** The state's database as one value, which another machine can go on with. */
import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { MigratekitError, messageOf } from "../../errors.ts";
import { databaseFileName } from "./database.ts";
import { createPrivateFile, ensurePrivateDirectory, syncDirectory } from "./directory.ts";
import { stateFailure } from "./failure.ts";
import { migrations } from "./schema.ts";
import { openSqliteFile } from "./sqlite-file.ts";

export interface DatabaseImage {
  /** A database of SQLite in zstd. */
  readonly bytes: Uint8Array;
  /** Of `bytes`, hex. */
  readonly sha256: string;
  readonly schemaVersion: number;
}

const busyTimeoutMs = 10_000;
/** What an image may come to; tables are bounded, a full state has less than a tenth of it. */
const bytesMax = 256 * 1024 * 1024;

/**
 * As it is after the last commit, also while others of this process use it. What each machine learns for
 * itself, whose certificate it trusts, stays here.
 *
 * It is SQLite that reads the file: reading it by any other means would, by closing it, drop the locks that
 * this process has on it (POSIX).
 * @throws MigratekitError `state-unusable`
 */
export function packDatabase(stateDir: string): DatabaseImage {
  const path = join(stateDir, databaseFileName);
  try {
    const file = openSqliteFile(path, busyTimeoutMs, "");
    const copy = new DatabaseSync(":memory:");
    try {
      copy.deserialize(file.serialize());
      copy.exec("DELETE FROM pin; VACUUM");
      const bytes = zstdCompressSync(copy.serialize());
      const { user_version } = copy.prepare("PRAGMA user_version").get()!;
      return { bytes, sha256: sha256Of(bytes), schemaVersion: Number(user_version) };
    } finally {
      copy.close();
      file.close();
    }
  } catch (error) {
    throw stateFailure("Packing the state", path, error);
  }
}

/**
 * Makes the database in a directory that has none yet.
 * @throws MigratekitError `state-unusable` for an image that is damaged, or of a newer migratekit
 */
export function restoreDatabase(stateDir: string, image: DatabaseImage): void {
  const { bytes, sha256, schemaVersion } = image;
  if (schemaVersion > migrations.length) {
    throw new MigratekitError(
      "state-unusable",
      `the VM's state has schema version ${schemaVersion}; this migratekit knows ${migrations.length}`,
      { remedy: "Bring this appliance to the migratekit that the others have." },
    );
  }
  if (sha256Of(bytes) !== sha256) throw damagedImage("its checksum is another");
  let content: Uint8Array;
  try {
    content = zstdDecompressSync(bytes, { maxOutputLength: bytesMax });
  } catch (error) {
    throw damagedImage(messageOf(error));
  }
  ensurePrivateDirectory(stateDir);
  const path = join(stateDir, databaseFileName);
  try {
    createPrivateFile(path);
    const file = openSync(path, "r+");
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    syncDirectory(stateDir);
  } catch (error) {
    throw stateFailure("Unpacking the state", path, error);
  }
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function damagedImage(why: string): MigratekitError {
  return new MigratekitError("state-unusable", `the VM's state that was kept is damaged: ${why}`, {
    remedy: "Copy everything again with --full.",
  });
}
