/** Cutover: syncs while the VM runs, then the shutdown, then the last sync; where asked for, the conversion. */
import { MigratekitError } from "../../errors.ts";
import {
  type convertGuest,
  isWindows,
  refuseUnsupported,
  requireGuestTools,
} from "../../guest/guest.ts";
import { withUndo } from "../../undo.ts";
import type { PowerState } from "../../vmware/vm-details.ts";
import { Account } from "../account/account.ts";
import { type ConversionSummary, convertHeld } from "../convert/convert.ts";
import { syncVm } from "../cycle/cycle.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import { checkKeyFiles, findLuksKeys } from "../known/luks-keys.ts";
import { findSyncedDisks } from "../known/synced.ts";
import type { CycleContext, HeldVm, Reporter } from "../vm/held-vm.ts";
import { readAgain, withVm } from "../vm/vm.ts";
import { checkShutdown, type Shutdown, shutDown } from "./guest-shutdown.ts";
import { syncUntilShort } from "./passes.ts";
import { describePower, type PowerAtEnd, powerOnAgain } from "./source-power.ts";

export interface CutoverSummary {
  readonly vm: CycleSummary["vm"];
  readonly power_state: PowerState;
  /** The guest did not shut down in time and the VM was powered off hard. */
  readonly forced: boolean;
  /** From the request to shut down to the end: of the last sync, its verification, the conversion. */
  readonly downtime_ms: number;
  /** Syncs of the running VM, in their order. */
  readonly passes: readonly CycleSummary[];
  readonly final_sync: CycleSummary;
  /** With `--convert`. */
  readonly conversion?: ConversionSummary["conversion"];
  readonly applied?: ConversionSummary["applied"];
}

export interface CutoverOptions {
  /** Told when a cutover ends early: what state the VM is in, for people and for `--json`. */
  onEarlyEnd(power: PowerAtEnd): void;
  /** Told the conversion before anything is made an error of it. */
  onVerdict?(summary: ConversionSummary): void;
  /** Changes the overlays, and judges what they hold then. */
  readonly convert?: typeof convertGuest;
}

/**
 * The VM is off and every target equals it when this resolves, or holds its converted guest. The VM is held
 * all along, so that no other run comes between.
 * @throws MigratekitError of any class; the signal's reason after an interruption
 */
export async function runCutover(
  context: CycleContext,
  options: CutoverOptions,
): Promise<CutoverSummary> {
  return await withVm(context, async (held) => {
    const shutdown: Shutdown = { asked: false, forced: false, synced: false };
    try {
      return await cutOver(held, shutdown, options);
    } catch (error) {
      if (context.config.powerOnSource) await powerOnAgain(held, shutdown);
      options.onEarlyEnd(await describePower(held.site, shutdown));
      throw error;
    }
  });
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
  if (config.convert && passes.length > 0) await requireKeys(held);
  const downSinceMs = performance.now();
  if (passes.length > 0) await shutDown(held, shutdown);
  held.logger.info(`${held.site.vm.name} is powered off: last sync`);
  const last = await readAgain(held);
  // What the passes have not brought, this one does: a full copy was theirs to make.
  const final = await syncVm(
    passes.length === 0 ? last : { ...last, config: { ...last.config, full: false } },
  );
  await requireOff(last);
  shutdown.synced = true;
  const converted = config.convert ? await convertLast(last, options) : undefined;
  held.state.markCutOver(held.identity, final.run_id);
  return {
    vm: final.vm,
    power_state: "poweredOff",
    forced: shutdown.forced,
    downtime_ms: Math.round(performance.now() - downSinceMs),
    passes,
    final_sync: final,
    ...(converted && { conversion: converted.conversion, applied: converted.applied }),
  };
}

/**
 * What is missing is found out before the machine is down.
 * @throws MigratekitError `guest-tool-missing`, `guest-unsupported`, `usage`
 */
async function requireTools({ config, site }: HeldVm): Promise<void> {
  const { hardware } = site.vm;
  refuseUnsupported(hardware);
  await checkKeyFiles(config);
  await requireGuestTools({
    windows: isWindows(hardware),
    firmware: hardware.firmware,
    ...(config.virtioWin === undefined ? {} : { virtioWin: config.virtioWin }),
  });
}

/**
 * So is what nothing opens: the targets hold all but the last changes by now.
 * @throws MigratekitError `guest-encrypted`, `guest-unsupported`, `target-…`
 */
async function requireKeys(held: HeldVm): Promise<void> {
  await withUndo(held.logger, async (undo) => {
    const { disks } = await findSyncedDisks({ ...held, conversion: undefined, runId: "" }, undo);
    await findLuksKeys(disks, held.config.luksKey ?? [], held.signal);
  });
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
): Promise<ConversionSummary> {
  held.logger.info("the targets hold the last state: converting the guest");
  return await convertHeld(
    { ...held, reporter: apart(held.reporter), conversion: undefined },
    {
      onVerdict: (summary) => onVerdict?.(summary),
      // It may take minutes, in which somebody may think that the machine should run.
      beforeApplying: () => requireOff(held),
      ...(convert && { convert }),
    },
  );
}

/** The conversion is no sync: the ending tells of the last one of these. */
function apart(reporter: Reporter): Reporter {
  const stage: Reporter["stage"] = (...told) => reporter.stage(...told);
  return { stage, tracker: reporter.tracker, account: new Account() };
}
