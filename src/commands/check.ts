import { type CatalogueEntry, catalogue, exitCodes } from "../errors.ts";
import { redact } from "../logger.ts";
import { nextSteps } from "../migration/account/next-step.ts";
import { runPreflight } from "../migration/check/check.ts";
import type { Finding } from "../migration/check/finding.ts";
import type { CommandContext } from "../report/context.ts";
import { nextLine } from "../report/ending/text.ts";
import { printJson } from "../report/json/json.ts";
import { preflightText } from "../report/preflight-text.ts";

/** `migratekit check`: would a run start, and what would it do? Changes nothing. */
export async function run({ config, logger, signal }: CommandContext): Promise<number> {
  const preflight = await runPreflight({ config, logger, signal });
  const exitCode = exitCodeOf(preflight.findings);
  const ready = exitCode === exitCodes.success;
  const next = nextSteps({ config, status: ready ? "completed" : "failed" });
  if (config.json) {
    const status = ready ? "ready" : "not-ready";
    printJson({ status, exit_code: exitCode, ...preflight, next });
  } else {
    const closing = next.map((step) => `${nextLine(step)}\n`).join("");
    process.stdout.write(redact(`${preflightText(preflight)}${closing}`));
  }
  return exitCode;
}

/** That of the first thing that a run would stumble over. */
export function exitCodeOf(findings: readonly Finding[]): number {
  const first = findings.find(({ level }) => level === "problem");
  if (first === undefined) return exitCodes.success;
  const entry: CatalogueEntry = catalogue[first.code ?? "bug"];
  return exitCodes[entry.exit];
}
