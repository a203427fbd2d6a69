import { exitCodes } from "../errors.ts";
import type { VerifySummary } from "../migration/verify/summary.ts";
import { runVerification } from "../migration/verify/verify.ts";
import type { CommandContext } from "../report/context.ts";
import { printFailure, printJson } from "../report/json/json.ts";
import { reported } from "../report/report.ts";
import { verificationText } from "../report/verification-text.ts";

/** `migratekit verify`: targets against a snapshot, leaving out what is merely newer. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  let found: VerifySummary | undefined;
  try {
    await reported(context, (reporter) =>
      runVerification({ config, logger, signal, reporter }, (summary) => {
        found = summary;
      }),
    );
    if (config.json) printJson({ status: "completed", exit_code: exitCodes.success, ...found });
    else process.stdout.write(verificationText(found!));
    return exitCodes.success;
  } catch (error) {
    if (config.json) printFailure(error, found);
    else if (found) process.stdout.write(verificationText(found));
    throw error;
  }
}
