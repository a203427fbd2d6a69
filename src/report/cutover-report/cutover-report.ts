/** `--report FILE`: a cutover as it is attached to a ticket, as a page or as text. Only tells; changes no ending. */
import { type Config, endpointText } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import type { CutoverSummary } from "../../migration/cutover/cutover.ts";
import { checkReplaceable, replaceFile, writeFor } from "../../replace-file.ts";
import { reportOnly } from "../../report-only.ts";
import type { CommandContext } from "../context.ts";
import { failureDocument } from "../json/json.ts";
import { whoRuns } from "../page/who.ts";
import { htmlPage } from "./html.ts";
import { type CutoverFacts, type Page, pageOf } from "./page.ts";
import { plainText } from "./plain-text.ts";

const forms: Readonly<Record<string, (page: Page) => string>> = {
  ".html": htmlPage,
  ".txt": plainText,
};

/** @throws MigratekitError `usage` for a file that cannot be written, or is to be of an unknown kind */
export function checkReportFile({ report: path }: Pick<Config, "report">): void {
  if (path === undefined) return;
  if (formOf(path) === undefined) {
    throw new MigratekitError("usage", `--report ${path}: its kind is not known`, {
      remedy: `Let its name end with ${Object.keys(forms).join(" or ")}.`,
    });
  }
  const remedy = "Name a file in a folder that the account which migratekit runs as may write to.";
  writeFor({ flag: "--report", path, remedy }, () => checkReplaceable(path));
}

/** Does `work` and writes what became of it. `power`: what is known of the VM when it ended early. */
export async function withCutoverReport(
  { config, logger }: Pick<CommandContext, "config" | "logger">,
  work: () => Promise<CutoverSummary>,
  power: () => string | undefined,
): Promise<CutoverSummary> {
  const path = config.report;
  if (path === undefined) return await work();
  const startedMs = Date.now();
  const write = (ending: Pick<CutoverFacts, "summary" | "failure">) =>
    reportOnly(logger, `the report ${path} was not written`, () => {
      const facts = { ...factsOf(config), startedMs, endedMs: Date.now(), power: power() };
      replaceFile(path, () => formOf(path)!(pageOf({ ...facts, ...ending })));
      logger.info(`the report is in ${path}`);
    });
  let summary: CutoverSummary;
  try {
    summary = await work();
  } catch (error) {
    const { status, error: failure } = failureDocument(error);
    write({ failure: { status, ...failure } });
    throw error;
  }
  write({ summary });
  return summary;
}

function factsOf(config: Config) {
  return {
    vmPath: config.vmwarePath ?? "",
    endpoint: endpointText(config),
    account: config.vmwareUsername ?? "",
    jobId: config.jobId,
    configName: config.config,
    verified: config.verify,
    who: whoRuns(),
  };
}

function formOf(path: string): ((page: Page) => string) | undefined {
  return Object.entries(forms).find(([ending]) => path.toLowerCase().endsWith(ending))?.[1];
}
