import { exitCodes } from "../errors.ts";
import { type ConversionSummary, runConversion } from "../migration/convert/convert.ts";
import type { CommandContext } from "../report/context.ts";
import { appliedText, conversionText } from "../report/conversion/conversion.ts";
import { printFailure, printJson } from "../report/json/json.ts";
import { reported, withoutSync } from "../report/report.ts";

/** `migratekit convert`: the guest on the targets is made to boot elsewhere, all disks or none. */
export async function run(context: CommandContext): Promise<number> {
  const { logger, signal } = context;
  const config = withoutSync(context.config);
  let found: ConversionSummary | undefined;
  try {
    const summary = await reported({ ...context, config }, (reporter) =>
      runConversion(
        { config, logger, signal, reporter },
        {
          onVerdict: (verdict) => {
            found = verdict;
          },
        },
      ),
    );
    if (config.json) printJson({ status: "completed", ...summary });
    else process.stdout.write(conversionText(summary) + appliedText(summary));
    return exitCodes.success;
  } catch (error) {
    if (config.json) printFailure(error, found);
    else if (found) process.stdout.write(conversionText(found));
    throw error;
  }
}
