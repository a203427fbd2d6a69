/**
 * `migratekit rollback`: back to where syncs go on. Of a conversion the old bytes are brought back; of a machine in
 * CloudStack that comes before it, and what it wrote while it ran is found by a comparison with the source.
 */
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import type { StoredDeployment } from "../../state/machine/deployments.ts";
import { Account } from "../account/account.ts";
import { bringBack } from "../deploy/deploy.ts";
import { type KnownVm, withKnownVm } from "../known/known.ts";
import { lastTargetUri } from "../target-tls.ts";
import { verifyVm } from "../verify/verify.ts";
import type { CycleContext } from "../vm/held-vm.ts";
import { type Run, withRun } from "../vm/run.ts";
import { findSite, type Site } from "../vm/site.ts";
import { refuseForeignWrites, rollBackConversion } from "./conversion.ts";
import { type KeptVolume, keepCopies, requireFreeNames } from "./keep-new.ts";

export interface RollbackSummary {
  readonly vm: { readonly path: string; readonly instance_uuid: string };
  readonly run_id: string;
  readonly disks: readonly { readonly disk_id: string; readonly restored_bytes: number }[];
  /** Of a machine in CloudStack. */
  readonly instance?: {
    readonly name: string;
    readonly state: "destroyed";
    /** It had run, and has written. */
    readonly has_run: boolean;
  };
  /** With `--keep-new`. */
  readonly kept?: readonly KeptVolume[];
  readonly next_sync: "incremental" | "full";
  /** What the machine in CloudStack wrote and the source now wrote over; absent: not compared. */
  readonly repaired_bytes?: number;
  readonly powered_on?: boolean;
}

type Held = KnownVm & Pick<Run, "runId" | "account">;

/**
 * @throws MigratekitError `not-converted`, `target-mismatch`, `old-bytes-lost`, `locked`, `target-…`, `cloudstack-…`,
 *   `vsphere-…`; the signal's reason
 */
export async function runRollback(context: Omit<CycleContext, "shared">): Promise<RollbackSummary> {
  return await withKnownVm(context, async (held) => {
    const deployment = held.state.deployments.read(held.identity, "cutover");
    if (deployment !== undefined) {
      return await withRun(held, (run) => rollBackDeployment(run, deployment)).catch(
        (error: unknown) => {
          tellHalfWay(held);
          throw error;
        },
      );
    }
    if (held.conversion === undefined) {
      throw new MigratekitError(
        "not-converted",
        `the targets of ${held.identity.vmPath} hold no conversion that could be taken back`,
      );
    }
    return await withRun(held, async (run, undo) => ({
      ...vmOf(run),
      disks: restoredDisks((await rollBackConversion(run, undo)).disks),
      next_sync: "incremental" as const,
    }));
  });
}

/** Whatever ended it: what is left is in the state, and the next one begins there. */
function tellHalfWay({ state, identity, logger }: KnownVm): void {
  const left = state.deployments.read(identity, "cutover");
  if (left === undefined) return;
  logger.error(
    `${identity.vmPath} is not back from ${left.instanceName} in CloudStack: the same command, 'migratekit rollback', goes on with it`,
  );
}

async function rollBackDeployment(run: Held, stored: StoredDeployment): Promise<RollbackSummary> {
  const { config, identity, state, logger } = run;
  await using source = await reachSource(run);
  const { keepNew } = config;
  if (keepNew !== undefined) await requireFreeNames(run, stored, keepNew);
  let kept: readonly KeptVolume[] | undefined;
  const { disks, hasRun } = await bringBack(run, stored, {
    asLeft: async () => {
      if (keepNew !== undefined) kept = await keepCopies(run, stored, keepNew);
    },
    atUntouched: (reached) => refuseForeignWrites(run, reached),
  });
  const { instanceName: name } = stored;
  logger.info(`${name} is gone from CloudStack, and its volumes are at the appliance`);
  const poweredOn = config.powerOnSource && source ? await powerOn(source.site) : undefined;
  const repairedBytes = hasRun && source ? await repair(run, source.site, stored) : undefined;
  const isFull = hasRun && source === undefined;
  if (isFull) {
    for (const { deviceKey } of state.records.listDisks(identity)) {
      state.records.distrustDisk(identity, deviceKey);
    }
  }
  state.clearCutOver(identity);
  state.deployments.forget(identity, "cutover");
  return {
    ...vmOf(run),
    disks: restoredDisks(disks),
    instance: { name, state: "destroyed", has_run: hasRun },
    ...(kept && { kept }),
    next_sync: isFull ? "full" : "incremental",
    ...(repairedBytes !== undefined && { repaired_bytes: repairedBytes }),
    ...(poweredOn !== undefined && { powered_on: poweredOn }),
  };
}

interface Source extends AsyncDisposable {
  readonly site: Site;
}

/** Where the settings reach it: found before anything is undone, so that a wrong password undoes nothing. */
async function reachSource({
  config,
  identity,
  state,
  logger,
  signal,
}: Held): Promise<Source | undefined> {
  if (!mayReach(config)) {
    if (!config.powerOnSource) return undefined;
    throw new MigratekitError("usage", "--power-on-source needs the vCenter's settings", {
      remedy: "Give --vmware-endpoint, --vmware-username and the password, or --config FILE.",
    });
  }
  const found = await findSite(config, logger, signal, state);
  const { site } = found;
  const end = () => site.client.close().catch(() => {});
  if (found.identity.instanceUuid === identity.instanceUuid) {
    return { site, [Symbol.asyncDispose]: end };
  }
  await end();
  throw new MigratekitError(
    "vm-changed",
    `another VM is at ${identity.vmPath} than the one that was cut over`,
    { remedy: "Correct --vmware-endpoint and --vmware-path." },
  );
}

function mayReach({ vmwareEndpoint, vmwareUsername, vmwarePassword, vmwarePath }: Config): boolean {
  return [vmwareEndpoint, vmwareUsername, vmwarePassword, vmwarePath].every(
    (setting) => setting !== undefined,
  );
}

/** @throws MigratekitError `vsphere-…` */
async function powerOn({ client, vm }: Site): Promise<boolean> {
  if ((await client.readPowerState(vm.moref)) === "poweredOn") return false;
  await client.powerOn(vm.moref);
  return true;
}

/**
 * Makes the targets equal to the last sync again, wherever the machine in CloudStack has written: both sides are
 * read, what differs is copied. Gives how much that was.
 */
async function repair(run: Held, site: Site, stored: StoredDeployment): Promise<number> {
  const { logger, reporter, config } = run;
  logger.info("comparing the volumes with the source, as the machine in CloudStack has written");
  const held = {
    ...{ ...run, site, reporter: { ...told(reporter), account: new Account() } },
    config: {
      ...{ ...config, nbdTargets: targetsOf(run, stored), cloudstackVolumes: undefined },
      ...{ skipDisks: skipped(site, stored), repair: true, sample: false, full: false },
    },
  };
  return await withRun(held, async (repairing, undo) => {
    const { summary, error } = await verifyVm(repairing, undo);
    const failed = summary.disks.find(({ status }) => status !== "equal" && status !== "repaired");
    if (error !== undefined) throw error;
    if (failed) {
      throw new MigratekitError(
        "verification-impossible",
        `${failed.disk_id} cannot be compared with the source: ${failed.reason}`,
        { remedy: "Give the command without the vCenter's settings; the next sync is full then." },
      );
    }
    return summary.disks.reduce((sum, disk) => sum + disk.repaired_bytes, 0);
  }).catch((error: unknown) => {
    logger.error(`the volumes could not be compared: ${messageOf(error)}`);
    throw error;
  });
}

/** As `--nbd-targets`: where the last sync went. */
function targetsOf(run: Held, { volumes }: StoredDeployment): string {
  return volumes
    .flatMap(({ deviceKey }) => {
      const uri = lastTargetUri(run, deviceKey);
      return uri === undefined ? [] : [`${deviceKey}:${uri}`];
    })
    .join(",");
}

/** Disks that were left out of the cutover, too. */
function skipped({ vm }: Site, { volumes }: StoredDeployment): number[] {
  const keys = vm.disks.map(({ key }) => key);
  return keys.filter((key) => !volumes.some(({ deviceKey }) => deviceKey === key));
}

function told(reporter: Held["reporter"]): Pick<Held["reporter"], "stage" | "tracker"> {
  return { stage: (...what) => reporter.stage(...what), tracker: reporter.tracker };
}

function vmOf({ identity, runId }: Held) {
  const { vmPath, instanceUuid } = identity;
  return { vm: { path: vmPath, instance_uuid: instanceUuid }, run_id: runId };
}

function restoredDisks(disks: readonly { diskId: string; restoredBytes: number }[]) {
  return disks.map(({ diskId, restoredBytes }) => ({
    disk_id: diskId,
    restored_bytes: restoredBytes,
  }));
}
