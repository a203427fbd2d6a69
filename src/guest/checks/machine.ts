/** What holds for every guest: boot loader and firmware fit, room is left. */
import type { Finding } from "../conversion.ts";
import { check } from "./finding.ts";

export interface MachineFacts {
  readonly firmware: "bios" | "uefi";
  readonly secureBoot: boolean;
  /** An EFI system partition was found. */
  readonly hasEsp: boolean;
  /** EFI/BOOT/BOOTX64.EFI */
  readonly hasFallback: boolean;
  /** Of the first disk: something in the first 440 bytes, and the signature behind. */
  readonly hasBootCode: boolean;
  /** Disks that /boot lies on, by their appliance's names; none where that is not known. */
  readonly bootFilesOn: readonly string[];
  readonly free: readonly { readonly mountPoint: string; readonly bytes: number }[];
  /** Cards that configuration names, and nobody can tell which they are. */
  readonly unknownNics: readonly string[];
}

const mebibyte = 1024 * 1024;
const freeBytesLeast: Readonly<Record<string, number>> = {
  "/": 32 * mebibyte,
  "/boot": 4 * mebibyte,
};

export function judgeMachine(facts: MachineFacts): Finding[] {
  return [
    ...firmwareFindings(facts),
    ...bootDiskFindings(facts),
    ...spaceFindings(facts),
    ...nicFindings(facts),
  ];
}

function firmwareFindings(facts: MachineFacts): Finding[] {
  if (facts.firmware === "bios") {
    if (facts.hasBootCode) return [];
    const other = facts.hasEsp
      ? "; it has an EFI system partition: is the machine one with UEFI?"
      : "";
    return [check("will-not-boot", `the first disk has no boot code for a BIOS${other}`)];
  }
  if (!facts.hasEsp) {
    const other = facts.hasBootCode ? "; it has boot code: is the machine one with BIOS?" : "";
    return [check("will-not-boot", `no disk has an EFI system partition${other}`)];
  }
  if (facts.hasFallback) return [];
  return [
    check(
      "will-not-boot",
      "EFI/BOOT/BOOTX64.EFI is not there, which a new machine's firmware starts",
    ),
  ];
}

/**
 * libvirt names the first disk alone as one to boot from, and OVMF then opens no other (seen), as SeaBIOS does where
 * it is told to be strict. A boot loader that needs another disk stands still. A volume group may lie on several
 * disks and the volume itself on the first, so this is not certain.
 */
function bootDiskFindings({ bootFilesOn }: MachineFacts): Finding[] {
  if (bootFilesOn.every((disk) => disk === "/dev/sda")) return [];
  const numbers = bootFilesOn.map((disk) => disk.charCodeAt("/dev/sd".length) - 96).join(" and ");
  return [
    check(
      "look",
      `/boot lies on disk ${numbers}, and a new machine's firmware shows the boot loader the first disk alone; start it in a rehearsal, or move /boot to a partition of the first disk`,
    ),
  ];
}

function spaceFindings({ free }: MachineFacts): Finding[] {
  return free
    .filter(({ mountPoint, bytes }) => bytes < (freeBytesLeast[mountPoint] ?? 0))
    .map(({ mountPoint, bytes }) =>
      check("look", `${mountPoint} has only ${Math.floor(bytes / mebibyte)} MiB left`),
    );
}

function nicFindings({ unknownNics }: MachineFacts): Finding[] {
  if (unknownNics.length === 0) return [];
  const names = unknownNics.join(", ");
  return [
    check(
      "look",
      `${names}: the configuration names network cards, and which ones they were is not known; they will have other names`,
    ),
  ];
}
