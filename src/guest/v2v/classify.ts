/** What a warning or an error of virt-v2v means. Its texts are of many versions: what none knows is to be looked at. */
import type { Finding } from "../conversion.ts";
import type { V2vMessage } from "./messages.ts";

type Level = Finding["level"];

/** The first that matches counts. */
const warnings: readonly (readonly [RegExp, Level])[] = [
  [/no virtio drivers available for this version of Windows/, "will-not-boot"],
  [/no virtio block device driver for this version of Windows/, "will-not-boot"],
  [/filesystem was mounted read-only/, "will-not-boot"],
  // The machine gets a network card of an older kind, which Windows has a driver for.
  [/no virtio network driver for this version of Windows/, "harmless"],
  [/no QXL driver|display driver/, "harmless"],
  // They stop Windows from loading a new driver, now and then: only a boot tells.
  [/Group Policy Objects|Anti-?Virus/i, "look"],
  [/(VMware tools|VirtualBox Guest Additions|Parallels tools).*uninstallation failed/, "harmless"],
  [/^cannot uninstall |could not uninstall packages/, "harmless"],
  [/QEMU Guest Agent|Balloon Server|blnsvr/i, "harmless"],
  [/fstrim on guest filesystem .* failed/, "harmless"],
  [/grub2 serial console/, "harmless"],
  // Our own check reads the menu as it is.
  [/could not determine a way to update the configuration of Grub2/, "harmless"],
  [/could not rebuild grub2 configuration file.*otherwise should be harmless/, "harmless"],
  [/multiple CD-ROMs found|CD-ROM/, "harmless"],
  [/ntfs_chmod|unknown guest operating system|unknown Windows 10 variant/, "harmless"],
  // Our own checks read the configuration and say whether the device matters.
  [/references unknown device/, "harmless"],
  [/failed to translate encrypted device name/, "harmless"],
  [/could not find firmware|no UEFI fix rule/, "harmless"],
];

/** Errors that are the guest's own, so that another try ends the same way. */
const refusals: readonly (readonly [RegExp, "unsupported" | "encrypted" | "will-not-boot"])[] = [
  [/unable to convert this guest type/, "unsupported"],
  [/No root device found|no root device found/i, "unsupported"],
  [/inspection could not detect the source guest/, "unsupported"],
  [/multi-boot operating systems are not supported/, "unsupported"],
  [/only Xen kernels are installed|no installed kernel packages/, "unsupported"],
  [/could not find key to open |could not read key from user/, "encrypted"],
  [/inspection of the package database failed/, "unsupported"],
  [/Windows Hibernation or Fast Restart/, "will-not-boot"],
  [/not enough (free space|available inodes) for conversion/, "will-not-boot"],
  [/could not write to the guest filesystem/, "will-not-boot"],
];

/**
 * Errors that another start of the appliance may not have. Its kernel finds several disks in an order that changes from
 * start to start, and libguestfs 1.48 then looks for a subvolume of Btrfs on the wrong one, before anything is changed.
 */
const passing: readonly RegExp[] = [/expecting a btrfs volume/];

export function isPassing(text: string): boolean {
  return passing.some((pattern) => pattern.test(text));
}

/** A warning that no version known here has: `look`. */
export function findingOf({ type, text }: V2vMessage): Finding | undefined {
  if (type !== "warning") return undefined;
  const level = warnings.find(([pattern]) => pattern.test(text))?.[1] ?? "look";
  return { level, source: "virt-v2v", text };
}

/** Why it ended with an error: of the guest's kind, of the guest's present state, or neither. */
export function refusalOf(messages: readonly V2vMessage[]): {
  readonly kind: "unsupported" | "encrypted" | "will-not-boot" | "unknown";
  readonly text: string;
} {
  const errors = messages.filter(({ type }) => type === "error").map(({ text }) => text);
  for (const text of errors) {
    const kind = refusals.find(([pattern]) => pattern.test(text))?.[1];
    if (kind !== undefined) return { kind, text };
  }
  return { kind: "unknown", text: errors.at(-1) ?? "it said nothing" };
}
