/**
 * The folder of the old bytes of one conversion: a sparse file for each disk, and the list of what lies
 * where, with digests of before and after. Complete and durable before a target is touched.
 */
import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";
import type { TargetTlsOptions } from "../../nbd/target/tls.ts";

/** A part of a disk that the conversion changes, and the SHA-256 of its bytes before and after. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly old: string;
  readonly new: string;
}

export interface KeptDisk {
  readonly deviceKey: number;
  readonly diskId: string;
  readonly uri: string;
  readonly sizeBytes: number;
  /** In the folder. */
  readonly file: string;
  /** Sorted and disjoint. */
  readonly pieces: readonly Piece[];
}

export interface KeptList {
  readonly format: 1;
  readonly runId: string;
  readonly vmPath: string;
  readonly instanceUuid: string;
  readonly disks: readonly KeptDisk[];
  /** How the targets are reached: paths of files, no secret. */
  readonly tls: TargetTlsOptions;
}

/** The pieces' ranges: pairs [offset, length]. */
export function rangesOf(pieces: readonly Pick<Piece, "offset" | "length">[]): Float64Array {
  return Float64Array.from(pieces.flatMap(({ offset, length }) => [offset, length]));
}

const listFile = (folder: string): string => join(folder, "list.json");

/** Durable when this returns, as are the folder's files by then; gives its digest. */
export function writeKeptList(folder: string, list: KeptList): string {
  const text = `${JSON.stringify(list)}\n`;
  const file = openSync(listFile(folder), "wx", 0o600);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  for (const directory of [folder, dirname(folder)]) syncPath(directory);
  return digestOf(text);
}

/** @throws MigratekitError `old-bytes-lost` where it is not the list with this digest */
export function readKeptList(folder: string, digest: string | undefined): KeptList {
  let text: string;
  try {
    text = readFileSync(listFile(folder), "utf8");
  } catch (error) {
    throw oldBytesLost(folder, messageOf(error));
  }
  if (digestOf(text) !== digest) throw oldBytesLost(folder, "list.json was changed");
  return JSON.parse(text) as KeptList;
}

/** @throws MigratekitError `old-bytes-unkept` */
export function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    throw new MigratekitError(
      "old-bytes-unkept",
      `the folder ${folder} cannot be removed: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** fsync(2) of a file or directory. */
export function syncPath(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } catch (error) {
    // Some network file systems cannot sync a directory.
    if (!hasSystemCode(error, "EINVAL")) throw error;
  } finally {
    closeSync(file);
  }
}

export function oldBytesLost(folder: string, why: string): MigratekitError {
  return new MigratekitError(
    "old-bytes-lost",
    `what the conversion kept in ${folder} cannot be used: ${why}`,
    { context: { folder } },
  );
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
