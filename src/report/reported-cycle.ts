import { runCycle } from "../migration/cycle/cycle.ts";
import type { CycleSummary } from "../migration/cycle/summary.ts";
import type { SharedResources } from "../migration/vm/run.ts";
import type { CommandContext } from "./context.ts";
import { type ReportContext, RunReporter } from "./report.ts";

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
