/**
 * Cutover: syncs while the VM runs, then the shutdown, then the last sync; where asked for, the conversion, and
 * the machine in CloudStack.
 */
import { MigratekitError } from "../../errors.ts";
import type { convertGuest } from "../../guest/guest.ts";
import { type ConversionSummary, convertHeld } from "../convert/convert.ts";
import { syncVm } from "../cycle/cycle.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import { type PlannedDeployment, planDeployment, requireFreeName } from "../deploy/deploy.ts";
import { keyOf } from "../vm/disks.ts";
import type { CycleContext, HeldVm } from "../vm/held-vm.ts";
import { readAgain, settle, withVm } from "../vm/vm.ts";
import { apart } from "./apart.ts";
import {
  beginDeployment,
  canGoOn,
  deployOrGoBack,
  leaveInSync,
  withdrawDeployment,
} from "./deployment.ts";
import { checkShutdown, type Shutdown, shutDown } from "./guest-shutdown.ts";
import { syncUntilShort } from "./passes.ts";
import { requireKeys, requireTools } from "./readiness.ts";
import { goOn } from "./resumed.ts";
import { describePower, type PowerAtEnd, powerOnAgain } from "./source-power.ts";
import type { CutoverSummary } from "./summary.ts";

export type { CutoverSummary } from "./summary.ts";

export interface CutoverOptions {
  /** Told when a cutover ends early: what state the VM is in, for people and for `--json`. */
  onEarlyEnd(power: PowerAtEnd): void;
  /** Told the conversion before anything is made an error of it. */
  onVerdict?(summary: ConversionSummary): void;
  /** Changes the overlays, and judges what they hold then. */
  readonly convert?: typeof convertGuest;
}

/**
 * The VM is off and every target equals it when this resolves, or holds its converted guest, or is a disk of the
 * machine that lives in CloudStack. The VM is held all along, so that no other run comes between.
 * @throws MigratekitError of any class; the signal's reason after an interruption
 */
export async function runCutover(
  context: CycleContext,
  options: CutoverOptions,
): Promise<CutoverSummary> {
  const { config } = context;
  if (config.deploy && !config.convert) {
    throw new MigratekitError("usage", "--deploy needs --convert", {
      remedy: "Give both: what a machine in CloudStack has to be given is told by the conversion.",
    });
  }
  const work = async (held: HeldVm) => {
    const shutdown: Shutdown = { asked: false, forced: false, synced: false };
    try {
      return await takenUp(held, shutdown, options);
    } catch (error) {
      if (held.lease?.signal.aborted) throw error;
      const underWay = held.state.deployments.read(held.identity, "cutover");
      if (config.powerOnSource && underWay === undefined) await powerOnAgain(held, shutdown);
      options.onEarlyEnd(await describePower(held.site, shutdown, underWay));
      throw error;
    }
  };
  return await withVm(context, work, { takesUp: config.deploy });
}

/** What a process before left on its way to CloudStack comes first. */
async function takenUp(
  held: HeldVm,
  shutdown: Shutdown,
  options: CutoverOptions,
): Promise<CutoverSummary> {
  const { state, identity } = held;
  const left = state.deployments.read(identity, "cutover");
  if (left !== undefined) {
    shutdown.synced = true;
    if (await canGoOn(held)) return await goOn(held, left);
    held.logger.warn(`an earlier cutover was on its way back from ${left.instanceName}: going on`);
    await leaveInSync({ ...held, reporter: apart(held.reporter) }, left);
    await settle(held);
    shutdown.synced = false;
  }
  return await cutOver(held, shutdown, options);
}

async function cutOver(
  held: HeldVm,
  shutdown: Shutdown,
  options: CutoverOptions,
): Promise<CutoverSummary> {
  const { config } = held;
  await checkShutdown(held);
  if (config.convert) await requireTools(held);
  const passes = held.site.vm.powerState === "poweredOff" ? [] : await syncUntilShort(held);
  const newest = passes.at(-1);
  if (config.convert && newest) await requireKeys(held);
  let plan = newest && (await planFor(held, newest));
  const [downSinceMs, downSince] = [performance.now(), new Date().toISOString()];
  if (passes.length > 0) await shutDown(held, shutdown);
  held.logger.info(`${held.site.vm.name} is powered off: last sync`);
  const last = await readAgain(held);
  // What the passes have not brought, this one does: a full copy was theirs to make.
  const final = await syncVm(
    passes.length === 0 ? last : { ...last, config: { ...last.config, full: false } },
  );
  await requireOff(last);
  shutdown.synced = true;
  plan ??= await planFor(last, final);
  const onApplying = () => {
    if (plan) beginDeployment(last, plan, { runId: final.run_id, downSince });
  };
  const converted = config.convert ? await convertLast(last, options, onApplying) : undefined;
  const instance = plan && (await deployOrGoBack(last, plan));
  if (instance === undefined) held.state.markCutOver(held.identity, final.run_id);
  await held.lease?.barrier("the end of the cutover");
  return {
    vm: final.vm,
    power_state: "poweredOff",
    forced: shutdown.forced,
    downtime_ms: Math.round(performance.now() - downSinceMs),
    passes,
    final_sync: final,
    ...(converted && { conversion: converted.conversion, applied: converted.applied }),
    ...(instance && { instance }),
  };
}

/** What is wrong with the settings for CloudStack is found out before the machine is down. */
async function planFor(
  held: HeldVm,
  { disks }: CycleSummary,
): Promise<PlannedDeployment | undefined> {
  if (!held.config.deploy) return undefined;
  const targets = disks.map(({ disk_id, target }) => ({ deviceKey: keyOf(disk_id), target }));
  const plan = await planDeployment(held, targets);
  await requireFreeName(plan);
  return plan;
}

/** @throws MigratekitError `power-state-changed`, `vsphere-…` */
async function requireOff({ site }: HeldVm): Promise<void> {
  const { client, vm } = site;
  const state = await client.readPowerState(vm.moref);
  if (state === "poweredOff") return;
  throw new MigratekitError(
    "power-state-changed",
    `${vm.name} is ${state} again: what it wrote since is not on the targets`,
  );
}

async function convertLast(
  held: HeldVm,
  { convert, onVerdict }: CutoverOptions,
  onApplying: () => void,
): Promise<ConversionSummary> {
  held.logger.info("the targets hold the last state: converting the guest");
  try {
    return await convertHeld(
      { ...held, reporter: apart(held.reporter), conversion: undefined },
      {
        onVerdict: (summary) => onVerdict?.(summary),
        // It may take minutes, in which somebody may think that the machine should run.
        beforeApplying: async () => {
          await requireOff(held);
          onApplying();
        },
        ...(convert && { convert }),
      },
    );
  } catch (error) {
    withdrawDeployment(held);
    throw error;
  }
}
