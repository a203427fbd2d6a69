import { createHash, randomUUID } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { MigratekitError } from "../../errors.ts";
import { isAlive, ownProcess, type ProcessIdentity } from "../../process-identity.ts";
import { checkPrivateFile, createPrivateFile } from "../database/directory.ts";
import { stateFailure } from "../database/failure.ts";
import { locksDirectory, prepareLockFile, tryLock } from "./file-lock.ts";

/** Who holds the lock of a VM, as written beside it by the holder. For people and comparisons. */
export interface VmLockHolder extends ProcessIdentity {
  /** Names one acquisition; a run's row carries it (runs.ts). */
  readonly token: string;
  readonly host: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endpoint: string;
  readonly vmPath: string;
}

/** How long a probe by another process, or a holder that has not yet written its name, is waited for. */
const attempts = 16;
const attemptTimeoutMs = 25;

const what = "Locking the VM";

/**
 * The right to work on one VM. The lock itself is a POSIX lock that SQLite holds on a file per VM,
 * so the kernel releases it when the process dies, however it dies; the file with the holder's
 * name is only information, never trusted for the decision. It holds between all processes on one
 * host, and between hosts that share the state directory only as far as its file system carries
 * POSIX locks between them: rely on it on a local file system only.
 */
export class VmLock implements Disposable {
  readonly token: string;
  readonly #db: DatabaseSync;
  readonly #infoPath: string;

  /** Keeps the open files of held locks from the garbage collector, which would close them. */
  static readonly #held = new Set<VmLock>();

  private constructor(token: string, db: DatabaseSync, infoPath: string) {
    VmLock.#held.add(this);
    this.token = token;
    this.#db = db;
    this.#infoPath = infoPath;
  }

  /**
   * Takes the lock of a VM, whatever endpoint it is reached by. Throws `locked`, naming the
   * holder, within half a second; `state-unusable` where the files cannot be used.
   */
  static acquire(
    stateDir: string,
    instanceUuid: string,
    vm: { readonly endpoint: string; readonly vmPath: string },
  ): VmLock {
    const { lockPath, infoPath } = lockFiles(stateDir, instanceUuid);
    prepareLockFile(stateDir, lockPath);
    const holder: VmLockHolder = {
      ...ownProcess(),
      token: randomUUID(),
      host: hostname(),
      startedAt: new Date().toISOString(),
      endpoint: vm.endpoint,
      vmPath: vm.vmPath,
    };
    let other: VmLockHolder | undefined;
    for (let attempt = 0; attempt < attempts; attempt++) {
      const db = tryLock(what, lockPath, attemptTimeoutMs);
      if (db !== undefined) {
        try {
          writeInfo(infoPath, holder);
        } catch (error) {
          db.close();
          throw stateFailure(what, infoPath, error);
        }
        return new VmLock(holder.token, db, infoPath);
      }
      other = readInfo(infoPath);
      if (other !== undefined && isAlive(other) === "alive") break;
    }
    throw lockedError(vm.vmPath, instanceUuid, other);
  }

  /** May be called twice. The name goes first, so that it never outlives the lock. */
  release(): void {
    if (!VmLock.#held.delete(this)) return;
    try {
      rmSync(this.#infoPath, { force: true });
    } finally {
      this.#db.close();
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * Who holds a VM's lock now, or undefined when nobody does. Takes the lock for an instant to see;
 * creates nothing where there is no lock file.
 */
export function isVmLocked(stateDir: string, instanceUuid: string): VmLockHolder | undefined {
  const { lockPath, infoPath } = lockFiles(stateDir, instanceUuid);
  if (checkPrivateFile(lockPath) === undefined) return undefined;
  const db = tryLock(what, lockPath, 0);
  if (db === undefined) return readInfo(infoPath) ?? unknownHolder;
  db.close();
  return undefined;
}

/** A holder that took the lock this instant and has not written its name yet. */
const unknownHolder: VmLockHolder = {
  pid: 0,
  bootId: "",
  startTicks: "",
  token: "",
  host: "",
  startedAt: "",
  endpoint: "",
  vmPath: "",
};

/** The files of a VM: its lock, who holds it, and how far the holder is (live-progress.ts). */
export function lockFiles(stateDir: string, instanceUuid: string) {
  const uuid = instanceUuid.toLowerCase();
  const name = /^[0-9a-z-]{1,64}$/.test(uuid)
    ? uuid
    : createHash("sha256").update(uuid).digest("hex");
  const base = join(locksDirectory(stateDir), name);
  return {
    lockPath: `${base}.lock`,
    infoPath: `${base}.holder`,
    progressPath: `${base}.progress`,
  };
}

/** Only the holder of the lock calls this, so one name for the temporary file is enough. */
function writeInfo(infoPath: string, holder: VmLockHolder): void {
  const temporary = `${infoPath}.new`;
  rmSync(temporary, { force: true });
  createPrivateFile(temporary);
  writeFileSync(temporary, `${JSON.stringify(holder)}\n`);
  renameSync(temporary, infoPath);
}

function readInfo(infoPath: string): VmLockHolder | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(infoPath, "utf8"));
    return isHolder(value) ? value : undefined;
  } catch {
    return undefined; // removed at this moment, or never written: the lock itself decides
  }
}

function isHolder(value: unknown): value is VmLockHolder {
  if (typeof value !== "object" || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  const texts = ["token", "host", "startedAt", "endpoint", "vmPath", "bootId", "startTicks"];
  return (
    typeof fields.get("pid") === "number" &&
    texts.every((name) => typeof fields.get(name) === "string")
  );
}

function lockedError(vmPath: string, instanceUuid: string, holder: VmLockHolder | undefined) {
  // The name of a process that is gone would lead astray.
  const known = holder !== undefined && isAlive(holder) !== "dead" ? holder : undefined;
  const who =
    known === undefined
      ? "a process that has not left its name"
      : `process ${known.pid} on ${known.host}, started ${known.startedAt}`;
  return new MigratekitError(
    "locked",
    `Another run is working on ${vmPath} (instance UUID ${instanceUuid}): ${who}`,
    {
      context:
        known === undefined
          ? {}
          : { pid: known.pid, host: known.host, startedAt: known.startedAt, vmPath: known.vmPath },
    },
  );
}
