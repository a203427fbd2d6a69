import { exitCodes } from "../errors.ts";
import { Interruption } from "../interruption.ts";
import { addSecret } from "../logger.ts";
import { nextSteps } from "../migration/account/next-step.ts";
import { runCycle } from "../migration/cycle/cycle.ts";
import { exitCodeOf, runList } from "../migration/list/list.ts";
import { readVmList } from "../migration/list/read-list.ts";
import { endOverdueRehearsal } from "../migration/rehearse/overdue.ts";
import type { CommandContext } from "../report/context.ts";
import { tellEnding } from "../report/ending/ending.ts";
import { markTold, printJson } from "../report/json/json.ts";
import { ListProgress } from "../report/list-progress.ts";
import { listDocument, listText } from "../report/list-text.ts";
import { reported } from "../report/report.ts";

/** `migratekit migrate`: one cycle for one VM, or for every VM of a list. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  if (config.vms !== undefined) return await migrateList(context, config.vms);
  await endOverdueRehearsal(context);
  await reported(
    context,
    (reporter) => runCycle({ config, logger, signal, reporter }),
    (outcome) => tellEnding(context, outcome),
  );
  return exitCodes.success;
}

/**
 * Gives 0, or the code of the first VM in the list's order that failed.
 * @throws Interruption where a signal kept one of them from its end
 */
async function migrateList(context: CommandContext, path: string): Promise<number> {
  const { config, logger, signal, view } = context;
  const { vms, unheeded } = readVmList(path, context.flags);
  if (unheeded.length > 0) {
    const names = unheeded.join(", ");
    logger.warn(`${path}: of a fleet alone, and not heeded here: ${names}; every VM is synced now`);
  }
  for (const vm of vms) addSecret(vm.config.vmwarePassword?.reveal() ?? "");
  // Those of a single VM repeat what the list's own say.
  const warnings = new Set(vms.flatMap((vm) => vm.config.warnings));
  for (const warning of warnings) if (!config.warnings.includes(warning)) logger.warn(warning);
  const progress = new ListProgress(view, vms.length, signal);
  const startedMs = performance.now();
  const results = await runList({ config, logger, signal, report: progress.report }, vms);
  view.stop();
  const durationMs = performance.now() - startedMs;
  const interrupted = results.find(({ error }) => error instanceof Interruption);
  const well = results.every(({ status }) => status === "completed");
  const status = interrupted ? "interrupted" : well ? "completed" : "failed";
  const next = nextSteps({ config, status });
  if (config.json) printJson({ ...listDocument(results, durationMs), next });
  else process.stdout.write(listText(results, durationMs, next));
  if (interrupted) {
    markTold(interrupted.error);
    throw interrupted.error;
  }
  return results.map(exitCodeOf).find((code) => code !== exitCodes.success) ?? exitCodes.success;
}
