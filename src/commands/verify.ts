import { exitCodes } from "../errors.ts";
import {
  type ByteRange,
  type DiskVerification,
  runVerification,
  type VerifySummary,
} from "../migration/verify/verify.ts";
import { formatBytes } from "../progress/format.ts";
import type { CommandContext } from "../report/context.ts";
import { errorDocument, printJson } from "../report/output.ts";
import { RunReporter } from "../report/report.ts";

/** `migratekit verify`: targets against a snapshot, leaving out what is merely newer. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal, view } = context;
  const reporter = new RunReporter(context);
  let found: VerifySummary | undefined;
  try {
    await runVerification({ config, logger, signal, reporter }, (summary) => {
      found = summary;
    });
    await reporter.complete();
    if (config.json) printJson({ status: "completed", ...found });
    else process.stdout.write(verificationText(found!));
    return exitCodes.success;
  } catch (error) {
    await reporter.fail(error);
    view.stop();
    if (config.json) printJson({ status: "failed", error: errorDocument(error), ...found });
    else if (found) process.stdout.write(verificationText(found));
    throw error;
  }
}

/** Ranges shown of each kind; `--json` has more. */
const shownMax = 20;

function verificationText({ disks }: VerifySummary): string {
  return disks.map((disk) => `${diskLines(disk).join("\n")}\n`).join("");
}

function diskLines(disk: DiskVerification): string[] {
  const compared = `${formatBytes(disk.compared_bytes)} of ${formatBytes(disk.capacity_bytes)} compared`;
  const { disk_id: name, status } = disk;
  if (status === "unverifiable") return [`${name}: cannot be verified: ${disk.reason}`];
  if (status === "failed") return [`${name}: failed: ${disk.error}`];
  const verdict =
    status === "equal"
      ? "equal"
      : `${disk.differing_bytes} bytes differ${status === "repaired" ? ", repaired" : ""}`;
  return [
    `${name}: ${verdict} (${compared}; ${disk.reason})`,
    ...rangeLines("differs", disk.differences, disk.differences_truncated),
    ...(disk.newer_bytes === 0
      ? []
      : [`  newer than the last sync: ${formatBytes(disk.newer_bytes)}`]),
    ...rangeLines("newer", disk.newer, false),
  ];
}

function rangeLines(what: string, ranges: readonly ByteRange[], truncated: boolean): string[] {
  const lines = ranges
    .slice(0, shownMax)
    .map(({ offset, length }) => `  ${what}: offset ${offset}, length ${length}`);
  const more = ranges.length - lines.length;
  if (more > 0 || truncated) lines.push(`  ${what}: and more${truncated ? "" : ` (${more})`}`);
  return lines;
}
