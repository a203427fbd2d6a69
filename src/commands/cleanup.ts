import { exitCodes, MigratekitError } from "../errors.ts";
import { redact } from "../logger.ts";
import { nextSteps } from "../migration/account/next-step.ts";
import { type CleanupSummary, type Leftover, runCleanup } from "../migration/cleanup/cleanup.ts";
import { confirm } from "../report/ask.ts";
import type { CommandContext } from "../report/context.ts";
import { nextLine } from "../report/ending/text.ts";
import { printFailure, printJson } from "../report/json/json.ts";
import { counted } from "../text.ts";

/** `migratekit cleanup`: leftovers of dead runs, listed and removed. */
export async function run({ config, logger, signal }: CommandContext): Promise<number> {
  const ask = (question: string) => (config.yes ? Promise.resolve() : confirm(question, signal));
  const summary = await runCleanup({ config, logger, signal, confirm: ask });
  const failed = summary.vms.flatMap(({ leftovers }) =>
    leftovers.filter(({ outcome }) => outcome === "failed"),
  );
  const status = failed[0] === undefined ? "completed" : "failed";
  const next = nextSteps({ config, status });
  if (!config.json) {
    const closing = next.map((step) => `${nextLine(step)}\n`).join("");
    process.stdout.write(redact(`${cleanupText(summary)}${closing}`));
  }
  if (failed[0] === undefined) {
    if (config.json) printJson({ status, exit_code: exitCodes.success, ...summary, next });
    return exitCodes.success;
  }
  const error = new MigratekitError(
    "vsphere-task-failed",
    `${counted(failed.length, "snapshot")} could not be removed; ${failed[0].what}: ${failed[0].reason}`,
  );
  if (config.json) printFailure(error, { ...summary, next });
  throw error;
}

function cleanupText({ local, vms, dry_run }: CleanupSummary): string {
  const lines = vms.flatMap(({ vm, skipped, leftovers }) =>
    skipped === undefined
      ? leftovers.map((leftover) => leftoverText(leftover, ` of ${vm}`))
      : [`skipped: ${vm}: ${skipped}`],
  );
  lines.push(...local.map((leftover) => leftoverText(leftover, "")));
  if (lines.length === 0) lines.push("nothing was left behind");
  else if (dry_run) lines.push("nothing was changed (--dry-run)");
  return `${lines.join("\n")}\n`;
}

function leftoverText({ kind, what, outcome, reason }: Leftover, of: string): string {
  return `${outcome}: ${kind} ${what}${of}${reason === undefined ? "" : `: ${reason}`}`;
}
