/** What a conversion comes to: whether the machine boots, on what hardware, and why it is believed. */

export interface Conversion {
  readonly verdict: Verdict;
  readonly hardware: ConvertedHardware;
  readonly guest: GuestSystem;
  readonly repairs: readonly Repair[];
  readonly findings: readonly Finding[];
  readonly durationMs: number;
}

/** `look`: it may boot, but something was met that only a person, or a boot, can judge. */
export type Verdict = "boots" | "look" | "will-not-boot";

/** What the virtual machine has to be given. */
export interface ConvertedHardware {
  /** Of all its disks. `scsi` is virtio-scsi. */
  readonly controller: "virtio" | "scsi" | "sata" | "ide";
  readonly firmware: "bios" | "uefi";
  readonly secureBoot: boolean;
  readonly machine: "pc" | "q35";
  readonly nics: readonly { readonly mac: string; readonly model: "virtio" | "e1000" }[];
}

export interface GuestSystem {
  readonly os: "linux" | "windows" | "unknown";
  /** As libosinfo and virt-v2v have it: debian, rhel, sles, windows. */
  readonly distro?: string;
  readonly version?: string;
  /** For people: "Debian GNU/Linux 12 (bookworm)". */
  readonly product?: string;
}

/** Something of ours that was changed in the guest. */
export interface Repair {
  readonly name: string;
  readonly detail: string;
}

/** Something that was seen; the worst of them is the verdict. */
export interface Finding {
  readonly level: "harmless" | "look" | "will-not-boot";
  readonly source: "virt-v2v" | "check";
  readonly text: string;
}

/** The worst finding decides; without one worse than harmless, it boots. */
export function verdictOf(findings: readonly Finding[]): Verdict {
  const levels = findings.map(({ level }) => level);
  if (levels.includes("will-not-boot")) return "will-not-boot";
  return levels.includes("look") ? "look" : "boots";
}
