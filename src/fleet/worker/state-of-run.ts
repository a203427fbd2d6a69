/** A run's own state directory: made afresh from what the fleet keeps of the VM, and gone with the run. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { MigratekitError } from "../../errors.ts";
import { ensurePrivateDirectory } from "../../state/database/directory.ts";
import { restoreDatabase } from "../../state/database/image.ts";
import { locksDirectory, prepareLockFile, tryLock } from "../../state/lock/file-lock.ts";
import { State } from "../../state/state.ts";
import type { StateBundle } from "../fleet.ts";

/** Below the worker's own state directory. @throws MigratekitError `state-unusable` */
export function makeRunDirectory(stateDir: string): Disposable & { readonly path: string } {
  const runs = join(stateDir, "fleet-runs");
  ensurePrivateDirectory(runs);
  const path = mkdtempSync(join(runs, "run-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * The right to have runs' directories in a state directory, until it is disposed of. What a worker that died
 * has left of its own goes: it is of no use without the leases that it had.
 * @throws MigratekitError `locked` where another worker works there; `state-unusable`
 */
export function holdRunDirectories(stateDir: string): Disposable {
  const path = join(locksDirectory(stateDir), "fleet-worker.lock");
  prepareLockFile(stateDir, path);
  const lock = tryLock("Locking the worker's state directory", path, lockTimeoutMs);
  if (lock === undefined) {
    throw new MigratekitError("locked", `another worker works with ${stateDir}`, {
      remedy: "Give each worker of this machine a --state-dir and a --worker-name of its own.",
    });
  }
  held.add(lock);
  rmSync(join(stateDir, "fleet-runs"), { recursive: true, force: true });
  return {
    [Symbol.dispose]: () => {
      held.delete(lock);
      lock.close();
    },
  };
}

const lockTimeoutMs = 500;
/** Keeps them from the garbage collector, which would close them. */
const held = new Set<DatabaseSync>();

/**
 * `undefined`: the VM never had a state. The certificate to trust is the one that this worker knows.
 * @throws MigratekitError `state-unusable`
 */
export function fillRunDirectory(
  path: string,
  bundle: StateBundle | undefined,
  { stateDir, endpoint }: { readonly stateDir: string; readonly endpoint: string },
): void {
  if (bundle !== undefined) restoreDatabase(path, bundle);
  using own = State.open(stateDir);
  using state = State.open(path);
  state.lateWrites.signAll();
  const pin = own.trust.readPin(endpoint);
  if (pin !== undefined) state.trust.replacePin(endpoint, pin);
}

/** What the run has learnt of the endpoint's certificate is this worker's from now on. */
export function keepPin(
  path: string,
  { stateDir, endpoint }: { readonly stateDir: string; readonly endpoint: string },
): void {
  using state = State.open(path);
  const pin = state.trust.readPin(endpoint);
  if (pin === undefined) return;
  using own = State.open(stateDir);
  own.trust.replacePin(endpoint, pin);
}
