import { requireSettings } from "../../config.ts";
import { exitCodes, MigratekitError } from "../../errors.ts";
import { openFleet } from "../../fleet/operation.ts";
import { checkReplaceable, replaceFile, writeFor } from "../../replace-file.ts";
import type { CommandContext } from "../../report/context.ts";
import { makeFleetReport, reportRunsMax } from "../../report/fleet/report/report.ts";

/** `migratekit fleet report`: the project as a page, as the data it is made from, or both. Changes nothing. */
export async function run({ config, logger }: CommandContext): Promise<number> {
  const { html: file, title, json } = config;
  requireSettings(config, "fleet-database");
  if (file === undefined && !json) {
    throw new MigratekitError("usage", "fleet report has nothing to write to", {
      remedy: "Name the page with --html FILE, or have its data printed with --json.",
    });
  }
  if (file !== undefined) withFile(file, () => checkReplaceable(file));
  await using store = await openFleet(config, logger);
  const report = makeFleetReport(await store.status({ syncsMax: reportRunsMax }), title);
  if (file !== undefined) {
    withFile(file, () => replaceFile(file, () => report.html));
    logger.info(`the report is in ${file}; SHA-256 of its data: ${report.sha256}`);
  }
  if (json) process.stdout.write(report.json);
  return exitCodes.success;
}

/** @throws MigratekitError `usage` for a file that cannot be written */
function withFile(path: string, work: () => void): void {
  const remedy = "Name a file in a folder that this account may write to.";
  writeFor({ flag: "--html", path, remedy }, work);
}
