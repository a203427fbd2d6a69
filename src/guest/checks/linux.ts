/** Whether a Linux guest boots, and on what controller: judged by facts alone. */
import type { ConvertedHardware, Finding } from "../conversion.ts";
import type { LinuxFacts } from "../inspect/linux-facts.ts";
import { check } from "./finding.ts";

export type Controller = ConvertedHardware["controller"];

export interface LinuxJudgement {
  readonly controller: Controller;
  readonly nicModel: "virtio" | "e1000";
  readonly findings: readonly Finding[];
}

/** What the kernel needs before it can read its root; the first of each group that it has will do. */
const driversOf: Readonly<Record<Controller, readonly string[]>> = {
  virtio: ["virtio_pci", "virtio_blk"],
  scsi: ["virtio_pci", "virtio_scsi", "sd_mod"],
  sata: ["ahci", "sd_mod"],
  ide: ["ata_piix", "sd_mod"],
};
const fileSystemsInModules = ["ext4", "xfs", "btrfs", "reiserfs", "jfs", "f2fs"];

export function judgeLinux(facts: LinuxFacts): LinuxJudgement {
  const findings: Finding[] = [...entryFindings(facts)];
  // A name that could not be changed holds where disks are SCSI, as they were.
  const wantsSd = facts.namedDevices.some(({ name, needed }) => needed && isSd(name));
  const order: Controller[] = wantsSd
    ? ["scsi", "sata", "ide", "virtio"]
    : ["virtio", "scsi", "sata", "ide"];
  const unread = facts.initrdProblem !== undefined || facts.entry === undefined;
  const usable = order.filter((controller) => unread || missingFor(controller, facts).length === 0);
  const controller = usable[0] ?? "virtio";
  if (usable.length === 0) findings.push(noDriver(facts));
  findings.push(...rootFindings(facts), ...nameFindings(facts, controller));
  const hasNet = facts.installedModules.has("virtio_net") || facts.builtinModules.has("virtio_net");
  const known = facts.installedModules.size > 0;
  return { controller, nicModel: hasNet || !known ? "virtio" : "e1000", findings };
}

function entryFindings({ entry, initrdProblem }: LinuxFacts): Finding[] {
  if (entry === undefined) {
    return [
      check("look", "the boot menu is none of GRUB 2, so what boots by default is not known"),
    ];
  }
  if (entry.missing !== undefined) {
    return [
      check("will-not-boot", `the default kernel of the boot menu, ${entry.missing}, is not there`),
    ];
  }
  if (initrdProblem === undefined) return [];
  const level = initrdProblem.endsWith("is not there") ? "will-not-boot" : "look";
  return [check(level, `the initrd of the kernel that boots by default: ${initrdProblem}`)];
}

function missingFor(controller: Controller, facts: LinuxFacts): string[] {
  return driversOf[controller].filter((driver) => !hasDriver(driver, facts));
}

function hasDriver(driver: string, { builtinModules, initrdModules }: LinuxFacts): boolean {
  return builtinModules.has(driver) || (initrdModules?.has(driver) ?? false);
}

function noDriver(facts: LinuxFacts): Finding {
  const missing = missingFor("virtio", facts).join(", ");
  const where = facts.initrdModules === undefined ? "boots without an initrd" : "has an initrd";
  const kernel = facts.entry?.release ?? facts.entry?.kernel ?? "the kernel";
  return check(
    "will-not-boot",
    `${kernel} ${where} that lacks ${missing}, and has no driver of another disk`,
  );
}

/** The root's own file system, what it lies on, and what the kernel is told of it. */
function rootFindings(facts: LinuxFacts): Finding[] {
  const findings: Finding[] = [];
  const fileSystem = facts.rootFileSystem ?? "";
  const read = facts.initrdProblem === undefined && facts.entry?.kernel !== undefined;
  const needed = [
    ...(fileSystemsInModules.includes(fileSystem) ? [fileSystem] : []),
    ...(facts.rootIsMapped ? ["dm_mod"] : []),
    ...(facts.rootIsEncrypted ? ["dm_crypt"] : []),
  ];
  for (const module of read ? needed : []) {
    if (hasDriver(module, facts)) continue;
    findings.push(
      check(
        "will-not-boot",
        `the initrd of ${facts.entry?.release} lacks ${module}, which the root needs`,
      ),
    );
  }
  if (facts.rootIsEncrypted && facts.initrdOpensLuks === false) {
    const text = `the initrd of ${facts.entry?.release} has nothing that opens the root's LUKS`;
    findings.push(check("will-not-boot", text));
  }
  const uuid = /\broot=UUID=([\w-]+)/i.exec(facts.entry?.options ?? "")?.[1];
  if (
    uuid !== undefined &&
    ![...facts.uuids].some((each) => each.toLowerCase() === uuid.toLowerCase())
  ) {
    findings.push(
      check("will-not-boot", `the kernel is told root=UUID=${uuid}, which is on none of the disks`),
    );
  }
  return findings;
}

function nameFindings({ namedDevices }: LinuxFacts, controller: Controller): Finding[] {
  const given = controller === "virtio" ? isVd : isSd;
  const seen = new Set<string>();
  return namedDevices
    .filter(({ name }) => !given(name))
    .filter(({ file, name }) => seen.size < seen.add(`${file} ${name}`).size)
    .map(({ file, name, needed }) =>
      check(
        needed ? "will-not-boot" : "look",
        `${file} names ${name}, which is not there with ${controller}`,
      ),
    );
}

const isSd = (name: string): boolean => name.startsWith("/dev/sd");
const isVd = (name: string): boolean => name.startsWith("/dev/vd");
