/** The way back from CloudStack: the machine off and gone, its volumes at the appliance, the old bytes on them. */
import { makeWorkFolder } from "../../guest/guest.ts";
import { prepareTargetTls } from "../../nbd/target/tls.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import { withUndo } from "../../undo.ts";
import { type ReachedDisk, type Restored, restoreTargets } from "../apply/restore.ts";
import { openCloudStack } from "../cloud.ts";
import { openEngine } from "../engine.ts";
import { lastTargetUri, tlsOptionsOf } from "../target-tls.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import { awaitExport } from "./clones.ts";
import { travel } from "./travel.ts";

export type ReturningVm = Pick<
  HeldVm,
  "config" | "identity" | "state" | "targetLocks" | "logger" | "signal" | "reporter" | "lease"
>;

export interface BroughtBack extends Restored {
  /** The machine may have run: what it wrote is on the volumes still. */
  readonly hasRun: boolean;
}

export interface Looks {
  /** The volumes are back, as the machine left them. */
  asLeft?(): Promise<void>;
  /** The same where it never ran, before the old bytes are brought back. */
  atUntouched?(disks: readonly ReachedDisk[]): Promise<void>;
}

/**
 * Begins the way back, or goes on with it. The deployment stays in the state: whoever calls knows when the
 * volumes are to be synced again, and forgets it then.
 * @throws MigratekitError `cloudstack-…`, `target-…`, `old-bytes-lost`; whatever `looks` throw; the signal's reason
 */
export async function bringBack(
  vm: ReturningVm,
  stored: StoredDeployment,
  looks: Looks = {},
): Promise<BroughtBack> {
  const { identity, state, logger, reporter } = vm;
  const purpose = "cutover";
  state.deployments.learn(identity, purpose, { goal: "undo" });
  await travel({
    ...{ cloud: openCloudStack(vm), identity, state, purpose, logger },
    ...(vm.lease && { lease: vm.lease }),
    onStep: (what) => reporter.stage("Finalize", what),
  });
  reporter.stage("StartExports", "waiting for the appliance's exports");
  await awaitExports(vm, stored);
  const hasRun = state.deployments.read(identity, purpose)?.started ?? stored.started;
  if (state.conversions.read(identity)?.phase === "converted") await looks.asLeft?.();
  const restored = await withUndo(logger, async (undo) => {
    reporter.stage("Transfer", "bringing the old bytes back");
    const work = undo.use("clear the work folder", await makeWorkFolder({ logger }));
    const engine = undo.use("stop the copy engine", openEngine(vm.config, logger, vm.lease));
    return await restoreTargets({ ...vm, work, engine }, hasRun ? undefined : looks.atUntouched);
  });
  return { ...restored, hasRun };
}

async function awaitExports(vm: ReturningVm, { volumes }: StoredDeployment): Promise<void> {
  const { signal, logger } = vm;
  const uris = volumes.flatMap(({ deviceKey }) => lastTargetUri(vm, deviceKey) ?? []);
  await using tls = await prepareTargetTls(tlsOptionsOf(vm), uris);
  for (const uri of uris) await awaitExport({ uri, ...tls.endpointFields }, { logger, signal });
}
