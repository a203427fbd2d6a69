import { exitCodes } from "../errors.ts";
import { runCycle } from "../migration/cycle.ts";
import type { CycleSummary } from "../migration/summary.ts";
import { formatBytes, formatDuration } from "../progress/format.ts";
import type { CommandContext } from "./context.ts";
import { errorDocument, printJson } from "./output.ts";
import { RunReporter } from "./run-reporter.ts";

/** `migratekit migrate`: one cycle for one VM. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  const reporter = new RunReporter(context);
  try {
    const summary = await runCycle({ config, logger, signal, reporter });
    await reporter.complete();
    if (config.json) printJson({ status: "completed", ...summary });
    else logger.info(summaryLine(summary));
    return exitCodes.success;
  } catch (error) {
    await reporter.fail(error);
    if (config.json) printJson({ status: "failed", error: errorDocument(error) });
    throw error;
  }
}

function summaryLine(summary: CycleSummary): string {
  const copied = summary.disks.reduce((sum, disk) => sum + disk.copied_bytes, 0);
  return (
    `${summary.vm.path}: ${summary.sync_type} sync of ${summary.disks.length} disk(s) complete, ` +
    `${formatBytes(copied)} copied in ${formatDuration(summary.duration_ms / 1000)}`
  );
}
