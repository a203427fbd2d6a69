import { exitCodes } from "../errors.ts";
import type { RehearsalSummary } from "../migration/rehearse/document.ts";
import { runRehearsal } from "../migration/rehearse/rehearse.ts";
import type { CommandContext } from "../report/context.ts";
import { rehearsalText } from "../report/conversion/rehearsal.ts";
import { printFailure, printJson } from "../report/json/json.ts";
import { reported, withoutSync } from "../report/report.ts";

/** `migratekit rehearse`: would a cutover boot, and how long would it take? No target is written to. */
export async function run(context: CommandContext): Promise<number> {
  const { logger, signal } = context;
  const config = withoutSync(context.config);
  let found: RehearsalSummary | undefined;
  try {
    await reported({ ...context, config }, (reporter) =>
      runRehearsal({ config, logger, signal, reporter }, (summary) => {
        found = summary;
      }),
    );
    if (config.json) printJson({ status: "completed", exit_code: exitCodes.success, ...found });
    else process.stdout.write(rehearsalText(found!));
    return exitCodes.success;
  } catch (error) {
    if (config.json) printFailure(error, found);
    else if (found) process.stdout.write(rehearsalText(found));
    throw error;
  }
}
