// What the test guests are: one Debian 12, set up in several ways as it stands on VMware machines.

export const mebibyte = 1_048_576;

/** Where a guest says what it has found; each line on its serial console begins so. */
export const saysPrefix = "migratekit-guest:";
export const nicName = "ens192";
/** Its file with a word that a test may change on the disk, and that the guest then says. */
export const markerPath = "/opt/guest/marker";

export interface GuestRecipe {
  readonly name: GuestName;
  readonly installation: InstallationName;
  readonly firmware: "bios" | "uefi";
  readonly mac: string;
  readonly address: string;
  /** As its configuration names it. */
  readonly rootDevice: string;
  /** What it says that it has mounted, where that is not the same. */
  readonly rootSaid?: string;
  readonly rootUuid: string;
  /** Of /boot, where it is a file system of its own. */
  readonly bootUuid?: string;
  readonly diskBytes: readonly number[];
}

export type GuestName = "bios" | "uefi-lvm" | "lvm-boot" | "btrfs" | "luks";

export const fileSystemBytes = 800 * mebibyte;
export const bootBytes = 128 * mebibyte;
export const espBytes = 48 * mebibyte;
/** Of the first disk of `uefi-lvm`, as sfdisk is told. */
export const espUuid = "4D4B-4546";
export const subvolume = "@rootfs";
/** Of `luks`: its LUKS header's UUID, and the file's only line. */
export const luksUuid = "6d6b00c5-0000-4000-8000-000000000005";
export const luksKey = "correct-horse-battery-staple";

export const recipes: Readonly<Record<GuestName, GuestRecipe>> = {
  /** MBR, GRUB in the gap, /dev/sda1 wherever a device is named, ifupdown. */
  bios: {
    ...{ name: "bios", installation: "plain", firmware: "bios" },
    mac: "00:50:56:8a:10:01",
    address: "192.0.2.10/24",
    rootDevice: "/dev/sda1",
    rootUuid: "6d6b0001-0000-4000-8000-000000000001",
    diskBytes: [mebibyte + fileSystemBytes],
  },
  /** GPT, GRUB in EFI/debian alone, the root on two disks, systemd-networkd. */
  "uefi-lvm": {
    ...{ name: "uefi-lvm", installation: "plain", firmware: "uefi" },
    mac: "00:50:56:8a:10:02",
    address: "192.0.2.20/24",
    rootDevice: "/dev/mapper/vg0-root",
    rootUuid: "6d6b0002-0000-4000-8000-000000000002",
    diskBytes: [560 * mebibyte, 400 * mebibyte],
  },
  /** As Ubuntu's installer has it: GPT with a BIOS, /boot on the first disk, the root on two by LVM, netplan. */
  "lvm-boot": {
    ...{ name: "lvm-boot", installation: "more", firmware: "bios" },
    mac: "00:50:56:8a:10:03",
    address: "192.0.2.30/24",
    rootDevice: "/dev/mapper/ubuntu--vg-ubuntu--lv",
    rootUuid: "6d6b0003-0000-4000-8000-000000000003",
    bootUuid: "6d6b00b3-0000-4000-8000-000000000003",
    diskBytes: [600 * mebibyte, 420 * mebibyte],
  },
  /** UEFI without EFI/BOOT, the root a subvolume of Btrfs, NetworkManager. */
  btrfs: {
    ...{ name: "btrfs", installation: "more", firmware: "uefi" },
    mac: "00:50:56:8a:10:04",
    address: "192.0.2.40/24",
    rootDevice: "/dev/sda2",
    rootSaid: `/dev/sda2[/${subvolume}]`,
    rootUuid: "6d6b0004-0000-4000-8000-000000000004",
    diskBytes: [1250 * mebibyte],
  },
  /** MBR, /boot in the clear, the root in LUKS with a key file in the initramfs, ifupdown. */
  luks: {
    ...{ name: "luks", installation: "more", firmware: "bios" },
    mac: "00:50:56:8a:10:05",
    address: "192.0.2.50/24",
    rootDevice: "/dev/mapper/sda2_crypt",
    rootUuid: "6d6b0005-0000-4000-8000-000000000005",
    bootUuid: "6d6b00b5-0000-4000-8000-000000000005",
    diskBytes: [18 * mebibyte + bootBytes + fileSystemBytes],
  },
};

export const suite = "bookworm";

const everywhere = [
  ...["systemd", "systemd-sysv", "udev", "kmod", "ifupdown", "iproute2"],
  ...["initramfs-tools", "linux-image-cloud-amd64", "lvm2"],
  ...["grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"],
];

/** What mmdebstrap installs once for several guests; the everyday ones do with the first. */
export const installations = {
  plain: everywhere,
  more: [
    ...everywhere,
    ...["btrfs-progs", "cryptsetup-initramfs", "netplan.io", "network-manager"],
  ],
} as const satisfies Record<string, readonly string[]>;

export type InstallationName = keyof typeof installations;

/** Drivers of VMware's hardware alone: what makes the guest fail on another's. */
export const initramfsModules = ["vmw_pvscsi", "sd_mod", "vmxnet3", "dm_mod"];

/** Files that have to be there before a package is installed. */
export const filesBefore: Readonly<Record<string, string>> = {
  "etc/initramfs-tools/conf.d/drivers": "MODULES=list\n",
  "etc/initramfs-tools/modules": `${initramfsModules.join("\n")}\n`,
};
