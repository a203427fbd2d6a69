import { exitCodes } from "../errors.ts";
import type { RehearsalSummary } from "../migration/rehearse/document.ts";
import { rehearseInCloudStack } from "../migration/rehearse/in-cloudstack.ts";
import { endOverdueRehearsal, runRehearsalEnd } from "../migration/rehearse/overdue.ts";
import { runRehearsal } from "../migration/rehearse/rehearse.ts";
import type { CommandContext } from "../report/context.ts";
import { rehearsalText } from "../report/conversion/rehearsal.ts";
import { printFailure, printJson } from "../report/json/json.ts";
import { reported, withoutSync } from "../report/report.ts";

/** `migratekit rehearse`: would a cutover boot, and how long would it take? No target is written to. */
export async function run(context: CommandContext): Promise<number> {
  const { logger, signal } = context;
  const config = withoutSync(context.config);
  if (config.end) return await end({ ...context, config });
  if (!config.cloudstack) await endOverdueRehearsal({ config, logger, signal });
  let found: RehearsalSummary | undefined;
  try {
    await reported({ ...context, config }, (reporter) =>
      (config.cloudstack ? rehearseInCloudStack : runRehearsal)(
        { config, logger, signal, reporter },
        (summary) => {
          found = summary;
        },
      ),
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

/** `--end`: what a rehearsal left in CloudStack is removed. */
async function end(context: CommandContext): Promise<number> {
  const { config } = context;
  const removed = await runRehearsalEnd(context);
  const status = { status: "completed", exit_code: exitCodes.success };
  if (config.json) printJson({ ...status, ...(removed !== undefined && { removed }) });
  else {
    process.stdout.write(
      removed === undefined
        ? "there is no rehearsal in CloudStack\n"
        : `${removed} is removed from CloudStack, with its volumes\n`,
    );
  }
  return exitCodes.success;
}
