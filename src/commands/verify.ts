import { exitCodes } from "../errors.ts";
import type { VerifySummary } from "../migration/verify/summary.ts";
import { runVerification } from "../migration/verify/verify.ts";
import type { CommandContext } from "../report/context.ts";
import { tellEnding } from "../report/ending/ending.ts";
import { reported } from "../report/report.ts";
import { verificationText } from "../report/verification-text.ts";

/** `migratekit verify`: targets against a snapshot, leaving out what is merely newer. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  let found: VerifySummary | undefined;
  await reported(
    context,
    (reporter) =>
      runVerification({ config, logger, signal, reporter }, (summary) => {
        found = summary;
      }),
    (outcome) =>
      tellEnding(context, outcome, { facts: found, text: found ? verificationText(found) : "" }),
  );
  return exitCodes.success;
}
