// What the test guests are: one Debian 12, set up in two ways as it stands on VMware machines.

export const mebibyte = 1_048_576;

/** Where a guest says what it has found; each line on its serial console begins so. */
export const saysPrefix = "migratekit-guest:";
export const nicName = "ens192";
/** Its file with a word that a test may change on the disk, and that the guest then says. */
export const markerPath = "/opt/guest/marker";

export interface GuestRecipe {
  readonly name: GuestName;
  readonly firmware: "bios" | "uefi";
  readonly mac: string;
  readonly address: string;
  readonly rootDevice: string;
  readonly rootUuid: string;
  readonly diskBytes: readonly number[];
}

export type GuestName = "bios" | "uefi-lvm";

export const fileSystemBytes = 800 * mebibyte;
export const espBytes = 48 * mebibyte;
/** Of the first disk of `uefi-lvm`, as sfdisk is told. */
export const espUuid = "4D4B-4546";

export const recipes: Readonly<Record<GuestName, GuestRecipe>> = {
  /** MBR, GRUB in the gap, /dev/sda1 wherever a device is named, ifupdown. */
  bios: {
    name: "bios",
    firmware: "bios",
    mac: "00:50:56:8a:10:01",
    address: "192.0.2.10/24",
    rootDevice: "/dev/sda1",
    rootUuid: "6d6b0001-0000-4000-8000-000000000001",
    diskBytes: [mebibyte + fileSystemBytes],
  },
  /** GPT, GRUB in EFI/debian alone, the root on two disks, systemd-networkd. */
  "uefi-lvm": {
    name: "uefi-lvm",
    firmware: "uefi",
    mac: "00:50:56:8a:10:02",
    address: "192.0.2.20/24",
    rootDevice: "/dev/mapper/vg0-root",
    rootUuid: "6d6b0002-0000-4000-8000-000000000002",
    diskBytes: [560 * mebibyte, 400 * mebibyte],
  },
};

export const suite = "bookworm";
export const packages = [
  ...["systemd", "systemd-sysv", "udev", "kmod", "ifupdown", "iproute2"],
  ...["initramfs-tools", "linux-image-cloud-amd64", "lvm2"],
  ...["grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"],
];

/** Drivers of VMware's hardware alone: what makes the guest fail on another's. */
const initramfsModules = ["vmw_pvscsi", "sd_mod", "vmxnet3", "dm_mod"];

/** Files that have to be there before a package is installed. */
export const filesBefore: Readonly<Record<string, string>> = {
  "etc/initramfs-tools/conf.d/drivers": "MODULES=list\n",
  "etc/initramfs-tools/modules": `${initramfsModules.join("\n")}\n`,
};

const reportScript = `#!/bin/bash
# Says on the console what this machine has come to; a test reads it.
say() { echo "${saysPrefix} $*" > /dev/ttyS0; }
address() { ip -o -4 addr show dev "$1" | awk '{print $4}'; }
say "begin $(cat ${markerPath})"
for try in $(seq 30); do [ -n "$(address ${nicName})" ] && break; sleep 1; done
(cd /opt/guest/files && sha256sum --check --quiet ../sums) && say "files OK" || say "files DAMAGED"
say "root $(findmnt -no SOURCE /) $(findmnt -no OPTIONS / | cut -d, -f1)"
for nic in /sys/class/net/*; do
  name=\${nic##*/}
  [ "$name" = lo ] || say "nic $name $(cat $nic/address) $(cat $nic/operstate) $(address $name)"
done
# Somebody is looked for in the network, so that this address is told there.
echo > /dev/udp/192.0.2.1/9
say ready
`;

const reportService = `[Unit]
Description=Tells the console what this machine has come to
After=networking.service systemd-networkd.service local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/guest/report
[Install]
WantedBy=multi-user.target
`;

/** Files of one guest, by path; those in \`bin\` and \`report\` are made executable. */
export function filesOf(recipe: GuestRecipe): Record<string, string> {
  return {
    "etc/hostname": `${recipe.name}\n`,
    "etc/machine-id": "6d6967726174656b6974746573740001\n",
    "etc/fstab": fstab(recipe),
    "etc/default/grub": defaultGrub(recipe),
    "boot/grub/grub.cfg": grubMenu(recipe),
    "opt/guest/marker": "one\n",
    "opt/guest/report": reportScript,
    "etc/systemd/system/report.service": reportService,
    ...(recipe.name === "bios" ? ifupdown(recipe) : networkd(recipe)),
  };
}

function fstab({ name, rootDevice }: GuestRecipe): string {
  const esp = `UUID=${espUuid} /boot/efi vfat umask=0077 0 1\n`;
  return `${rootDevice} / ext4 errors=remount-ro 0 1\n${name === "uefi-lvm" ? esp : ""}`;
}

const commandLine = "console=tty0 console=ttyS0,115200";

function defaultGrub({ name }: GuestRecipe): string {
  const lines = [
    "GRUB_DEFAULT=0",
    "GRUB_TIMEOUT=1",
    'GRUB_DISTRIBUTOR="Debian"',
    'GRUB_CMDLINE_LINUX_DEFAULT=""',
    `GRUB_CMDLINE_LINUX="${commandLine}"`,
    ...(name === "bios" ? ["GRUB_DISABLE_LINUX_UUID=true"] : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** KERNEL is replaced by the kernel's release. */
function grubMenu({ rootDevice, rootUuid }: GuestRecipe): string {
  return `set default="0"
set timeout=1
serial --unit=0 --speed=115200
terminal_output console serial
menuentry 'Debian GNU/Linux' --class debian --class gnu-linux --class os {
\tsearch --no-floppy --fs-uuid --set=root ${rootUuid}
\tlinux /boot/vmlinuz-KERNEL root=${rootDevice} ro ${commandLine}
\tinitrd /boot/initrd.img-KERNEL
}
`;
}

function ifupdown({ address }: GuestRecipe): Record<string, string> {
  return {
    "etc/network/interfaces":
      "auto lo\niface lo inet loopback\n\n" +
      `auto ${nicName}\niface ${nicName} inet static\n\taddress ${address}\n\tgateway 192.0.2.1\n`,
  };
}

function networkd({ address }: GuestRecipe): Record<string, string> {
  return {
    "etc/network/interfaces": "auto lo\niface lo inet loopback\n",
    "etc/systemd/network/10-lan.network": `[Match]\nName=${nicName}\n\n[Network]\nAddress=${address}\nGateway=192.0.2.1\n`,
  };
}
