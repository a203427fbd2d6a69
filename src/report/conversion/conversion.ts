/** A conversion for people: verdict, findings, repairs, and what the machine needs in CloudStack. */
import type { ConversionSummary } from "../../migration/convert/convert.ts";
import { formatBytes, formatDuration } from "../../text.ts";

const verdicts = {
  boots: "boots",
  look: "may boot: look at what follows",
  "will-not-boot": "would not boot",
} as const;

const controllers = {
  virtio: "virtio",
  scsi: "scsi (virtio-scsi)",
  sata: "sata",
  ide: "ide",
} as const;

/** Ends with a line break. */
export function conversionText({ vm, conversion }: Pick<ConversionSummary, "vm" | "conversion">) {
  const { verdict, hardware, guest, repairs, findings, duration_ms } = conversion;
  const { controller, firmware, secure_boot, machine, nics } = hardware;
  const cards = nics.map(({ mac, model }) => `${mac} (${model})`).join(", ");
  const lines = [
    `${vm.path}: ${verdicts[verdict]}`,
    `  guest       ${guest.product ?? [guest.distro ?? guest.os, guest.version].filter(Boolean).join(" ")}`,
    `  disks       ${controllers[controller]}`,
    `  firmware    ${firmware}${secure_boot ? ", secure boot" : ""}, machine ${machine}`,
    ...(cards === "" ? [] : [`  network     ${cards}`]),
    `  took        ${formatDuration(duration_ms / 1000)}`,
    ...repairs.map(({ name, detail }) => `  repaired    ${name}: ${detail}`),
    ...findings.map(({ level, source, text }) => `  ${level.padEnd(11)} ${text} (${source})`),
  ];
  return `${lines.join("\n")}\n`;
}

/** What went to the targets; ends with a line break. */
export function appliedText({ applied }: Pick<ConversionSummary, "applied">): string {
  if (applied === undefined) return "";
  const disks = applied.disks.map(
    ({ disk_id, target, changed_bytes }) =>
      `  ${disk_id.padEnd(11)} ${formatBytes(changed_bytes)} changed on ${target}`,
  );
  return `${[...disks, `  old bytes   ${applied.old_bytes}`].join("\n")}\n`;
}
