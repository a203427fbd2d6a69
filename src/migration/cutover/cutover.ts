/** Cutover: syncs while the VM runs, then the shutdown, then the last sync. */
import { MigratekitError } from "../../errors.ts";
import { counted, formatBytes, formatDuration } from "../../text.ts";
import type { PowerState } from "../../vmware/vm-details.ts";
import { syncVm } from "../cycle/cycle.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import type { CycleContext, HeldVm } from "../vm/held-vm.ts";
import { readAgain, withVm } from "../vm/vm.ts";
import { type DowntimeEstimate, estimateDowntime } from "./downtime.ts";
import { checkShutdown, describePower, type Shutdown, shutDown } from "./guest-shutdown.ts";

export interface CutoverSummary {
  readonly vm: CycleSummary["vm"];
  readonly power_state: PowerState;
  /** The guest did not shut down in time and the VM was powered off hard. */
  readonly forced: boolean;
  /** From the request to shut down to the end of the last sync (and its verification). */
  readonly downtime_ms: number;
  /** Syncs of the running VM, in their order. */
  readonly passes: readonly CycleSummary[];
  readonly final_sync: CycleSummary;
}

/** Told when a cutover ends early: what state the VM is in, for people and for `--json`. */
export type OnEarlyEnd = (power: { state: PowerState | "unknown"; text: string }) => void;

/**
 * The VM is off and every target equals it when this resolves. The VM is held all along, so that no
 * other run comes between.
 * @throws MigratekitError of any class; the signal's reason after an interruption
 */
export async function runCutover(
  context: CycleContext,
  onEarlyEnd: OnEarlyEnd,
): Promise<CutoverSummary> {
  return await withVm(context, async (held) => {
    const shutdown: Shutdown = { asked: false, forced: false };
    try {
      return await cutOver(held, shutdown);
    } catch (error) {
      onEarlyEnd(await describePower(held.site, shutdown));
      throw error;
    }
  });
}

async function cutOver(held: HeldVm, shutdown: Shutdown): Promise<CutoverSummary> {
  await checkShutdown(held);
  const passes = held.site.vm.powerState === "poweredOff" ? [] : await syncUntilShort(held);
  const downSinceMs = performance.now();
  if (passes.length > 0) await shutDown(held, shutdown);
  held.logger.info(`${held.site.vm.name} is powered off: last sync`);
  const last = await readAgain(held);
  // What the passes have not brought, this one does: a full copy was theirs to make.
  const config = passes.length === 0 ? last.config : { ...last.config, full: false };
  const final = await syncVm({ ...last, config });
  const power_state = await last.site.client.readPowerState(last.site.vm.moref);
  if (power_state !== "poweredOff") {
    throw new MigratekitError(
      "power-state-changed",
      `${last.site.vm.name} is ${power_state} again: what it wrote since is not on the targets`,
    );
  }
  held.state.markCutOver(held.identity, final.run_id);
  return {
    vm: final.vm,
    power_state,
    forced: shutdown.forced,
    downtime_ms: Math.round(performance.now() - downSinceMs),
    passes,
    final_sync: final,
  };
}

/**
 * Syncs the running VM until the last sync is expected to be short enough.
 * @throws MigratekitError `downtime-exceeded` when `--max-passes` do not bring it so far
 */
async function syncUntilShort(held: HeldVm): Promise<CycleSummary[]> {
  const { config, logger } = held;
  const passes: CycleSummary[] = [];
  for (;;) {
    const full = config.full && passes.length === 0;
    const now = passes.length === 0 ? held : await readAgain(held);
    const summary = await syncVm({ ...now, config: { ...config, full, verify: false } });
    passes.push(summary);
    const [run] = held.state.runs.listRuns(held.identity, 1);
    const estimate = estimateDowntime(summary, run?.stages ?? []);
    const expected = estimateText(estimate, config.verify);
    logger.info(`pass ${passes.length} of at most ${config.maxPasses}: ${expected}`);
    if (estimate !== undefined && estimate.totalMs <= config.maxDowntime) return passes;
    if (passes.length < config.maxPasses) continue;
    const wanted = formatDuration(config.maxDowntime / 1000);
    throw new MigratekitError(
      "downtime-exceeded",
      `after ${counted(passes.length, "pass", "passes")} ${expected}, more than the ${wanted} of --max-downtime`,
    );
  }
}

function estimateText(estimate: DowntimeEstimate | undefined, verified: boolean): string {
  if (estimate === undefined) {
    return "the last sync cannot be told yet, as this one copied more than the changes";
  }
  const { deltaBytes, copyMs, fixedMs, totalMs } = estimate;
  const copying = `${formatBytes(deltaBytes)} changed, ${formatDuration(copyMs / 1000)} to copy them`;
  const more = verified ? "the guest's shutdown and the verification" : "the guest's shutdown";
  return (
    `the last sync is expected to take ${formatDuration(totalMs / 1000)} ` +
    `(${copying}; ${formatDuration(fixedMs / 1000)} for the rest), besides ${more}`
  );
}
