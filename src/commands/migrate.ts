import { exitCodes } from "../errors.ts";
import type { CycleSummary } from "../migration/cycle/summary.ts";
import { formatBytes, formatDuration } from "../progress/format.ts";
import type { CommandContext } from "../report/context.ts";
import { errorDocument, printJson } from "../report/output.ts";
import { copiedBytes, migrateVm } from "../report/reported-cycle.ts";

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

function summaryLine(summary: CycleSummary): string {
  return (
    `${summary.vm.path}: ${summary.sync_type} sync of ${summary.disks.length} disk(s) complete, ` +
    `${formatBytes(copiedBytes(summary))} copied in ${formatDuration(summary.duration_ms / 1000)}`
  );
}
