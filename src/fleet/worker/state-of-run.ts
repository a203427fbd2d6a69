/** A run's own state directory: made afresh from what the fleet keeps of the VM, and gone with the run. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ensurePrivateDirectory } from "../../state/database/directory.ts";
import { restoreDatabase } from "../../state/database/image.ts";
import { State } from "../../state/state.ts";
import type { StateBundle } from "../fleet.ts";

/** Below the worker's own state directory. @throws MigratekitError `state-unusable` */
export function makeRunDirectory(stateDir: string): Disposable & { readonly path: string } {
  const runs = join(stateDir, "fleet-runs");
  ensurePrivateDirectory(runs);
  const path = mkdtempSync(join(runs, "run-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** What workers that died have left of theirs. A directory is of no use without the lease that it was made for. */
export function clearRunDirectories(stateDir: string): void {
  rmSync(join(stateDir, "fleet-runs"), { recursive: true, force: true });
}

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
