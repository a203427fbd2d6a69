/** What a rehearsal saw, for people. */
import type { RehearsalSummary } from "../../migration/rehearse/document.ts";
import { formatBytes, formatDuration } from "../../text.ts";
import { conversionText } from "./conversion.ts";

const verdicts = {
  boots: "boots",
  unclear: "not seen to boot",
  "will-not-boot": "does not boot",
} as const;

/** What the checks found, what was seen of the start, and the forecast; ends with a line break. */
export function rehearsalText(summary: RehearsalSummary): string {
  const { boot, instance } = summary;
  const rows = [
    ...(boot ? bootRows(boot) : []),
    ...(instance ? instanceRows(instance) : []),
    ["downtime", downtimeText(summary)],
  ];
  const lines = rows.map(([name = "", text]) => `  ${name.padEnd(11)} ${text}`);
  return `${conversionText(summary)}${lines.join("\n")}\n`;
}

function bootRows(boot: NonNullable<RehearsalSummary["boot"]>): string[][] {
  const how = boot.accelerator === "kvm" ? "with KVM" : "in software, as KVM runs no guests here";
  const took =
    boot.boot_ms === undefined
      ? `watched for ${duration(boot.duration_ms)}`
      : `up after ${duration(boot.boot_ms)}`;
  return [
    ["started", `${verdicts[boot.verdict]}: ${boot.reason}`],
    ["", `${took}, ${how}`],
    ...(boot.verdict === "boots" ? [] : boot.console_tail.map((line) => ["console", line])),
    ...(boot.screenshot === null ? [] : [["picture", boot.screenshot]]),
  ];
}

function instanceRows(instance: NonNullable<RehearsalSummary["instance"]>): string[][] {
  const { name, state, alive, nics, until } = instance;
  const addresses = nics.flatMap(({ address }) => address ?? []).join(", ");
  const end = until === undefined ? "until 'rehearse --cloudstack --end'" : `until ${until}`;
  return [
    ["in cloud", `${name}: ${alive ?? "not seen alive"}`],
    ["", `${state}${addresses === "" ? "" : ` at ${addresses}`}; it stays ${end}`],
  ];
}

/** The longest part of a downtime is what nobody has measured; so that is said. */
function downtimeText({ forecast, boot }: RehearsalSummary): string {
  const { last_sync_ms, delta_bytes = 0, conversion_ms, start_ms, downtime_ms } = forecast;
  const parts = [
    last_sync_ms === undefined
      ? "last sync not measured (sync once more)"
      : `last sync ${duration(last_sync_ms)} for ${formatBytes(delta_bytes)}`,
    `conversion ${duration(conversion_ms)}`,
    start_ms === undefined
      ? `start not measured${boot ? "" : " (--boot)"}`
      : `start ${duration(start_ms)}`,
  ];
  const sum = downtime_ms === undefined ? "" : `about ${duration(downtime_ms)}: `;
  return `${sum}${parts.join(", ")}; besides that, the guest's own shutdown`;
}

function duration(ms: number): string {
  return formatDuration(ms / 1000);
}
