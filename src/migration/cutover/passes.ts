/** Syncs of the running VM, until the last one will be short enough. */
import { MigratekitError } from "../../errors.ts";
import { counted, formatBytes, formatDuration } from "../../text.ts";
import { syncVm } from "../cycle/cycle.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import type { HeldVm } from "../vm/held-vm.ts";
import { readAgain } from "../vm/vm.ts";
import { type DowntimeEstimate, estimateDowntime } from "./downtime.ts";

/**
 * Syncs the running VM until the last sync is expected to be short enough.
 * @throws MigratekitError `downtime-exceeded` when `--max-passes` do not bring it so far
 */
export async function syncUntilShort(held: HeldVm): Promise<CycleSummary[]> {
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
