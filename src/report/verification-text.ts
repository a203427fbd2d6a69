/** What a comparison of targets found, for people. */
import type { ByteRange, DiskVerification, VerifySummary } from "../migration/verify/summary.ts";
import { formatBytes } from "../text.ts";

/** Ranges shown of each kind; `--json` has more. */
const shownMax = 20;

/** Lines for each disk: what was compared, the verdict, the first ranges of each kind. */
export function verificationText({ disks }: VerifySummary): string {
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
