import { exitCodes } from "../errors.ts";
import { runCycle } from "../migration/cycle.ts";
import type { SharedResources } from "../migration/shared.ts";
import type { CycleSummary } from "../migration/summary.ts";
import { formatBytes, formatDuration } from "../progress/format.ts";
import type { CommandContext } from "./context.ts";
import { errorDocument, printJson } from "./output.ts";
import { type ReportContext, RunReporter } from "./run-reporter.ts";

/** `migratekit migrate`: one cycle for one VM, or for every VM of a list. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, view } = context;
  if (config.vms !== undefined) {
    const { migrateList } = await import("./migrate-list.ts");
    return await migrateList(context, config.vms);
  }
  try {
    const summary = await migrateVm(context);
    if (config.json) printJson({ status: "completed", ...summary });
    else logger.info(summaryLine(summary));
    return exitCodes.success;
  } catch (error) {
    view.stop();
    if (config.json) printJson({ status: "failed", error: errorDocument(error) });
    throw error;
  }
}

/** One cycle, shown and reported from its beginning to its end, well or not. */
export async function migrateVm(
  context: ReportContext & Pick<CommandContext, "signal">,
  shared?: SharedResources,
): Promise<CycleSummary> {
  const { config, logger, signal } = context;
  const reporter = new RunReporter(context);
  try {
    const summary = await runCycle({ config, logger, signal, reporter, ...(shared && { shared }) });
    await reporter.complete();
    return summary;
  } catch (error) {
    await reporter.fail(error);
    throw error;
  }
}

export function copiedBytes(summary: CycleSummary): number {
  return summary.disks.reduce((sum, disk) => sum + disk.copied_bytes, 0);
}

function summaryLine(summary: CycleSummary): string {
  return (
    `${summary.vm.path}: ${summary.sync_type} sync of ${summary.disks.length} disk(s) complete, ` +
    `${formatBytes(copiedBytes(summary))} copied in ${formatDuration(summary.duration_ms / 1000)}`
  );
}
