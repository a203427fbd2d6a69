// The files that make a guest of an installation: who it is, how it boots, its network, what it says.

import {
  espUuid,
  type GuestName,
  type GuestRecipe,
  initramfsModules,
  luksKey,
  luksUuid,
  markerPath,
  nicName,
  saysPrefix,
  subvolume,
} from "./recipe.ts";

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
# A login resets the line, and what was said a moment ago is lost.
Before=serial-getty@ttyS0.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/guest/report
[Install]
WantedBy=multi-user.target
`;

/** Files of one guest, by path; who may read them, and which are run, is said in file-systems.sh. */
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
    ...own[recipe.name](recipe),
  };
}

const own: Readonly<Record<GuestName, (recipe: GuestRecipe) => Record<string, string>>> = {
  bios: ifupdown,
  "uefi-lvm": networkd,
  "lvm-boot": ubuntu,
  btrfs: networkManager,
  luks: (recipe) => ({ ...ifupdown(recipe), ...encrypted() }),
};

function fstab({ name, firmware, rootDevice, bootUuid }: GuestRecipe): string {
  const root =
    name === "btrfs" ? `btrfs defaults,subvol=${subvolume} 0 0` : "ext4 errors=remount-ro 0 1";
  return [
    `${rootDevice} / ${root}\n`,
    ...(bootUuid === undefined ? [] : [`UUID=${bootUuid} /boot ext4 defaults 0 2\n`]),
    ...(firmware === "uefi" ? [`UUID=${espUuid} /boot/efi vfat umask=0077 0 1\n`] : []),
  ].join("");
}

const commandLine = "console=tty0 console=ttyS0,115200";

function defaultGrub({ rootDevice }: GuestRecipe): string {
  const lines = [
    "GRUB_DEFAULT=0",
    "GRUB_TIMEOUT=1",
    'GRUB_DISTRIBUTOR="Debian"',
    'GRUB_CMDLINE_LINUX_DEFAULT=""',
    `GRUB_CMDLINE_LINUX="${commandLine}"`,
    ...(rootDevice.startsWith("/dev/sd") ? ["GRUB_DISABLE_LINUX_UUID=true"] : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** KERNEL is replaced by the kernel's release. Paths begin at the file system that GRUB has set as root. */
function grubMenu({ name, rootDevice, rootUuid, bootUuid }: GuestRecipe): string {
  const [folder, flags] =
    name === "btrfs" ? [`/${subvolume}/boot`, `rootflags=subvol=${subvolume} `] : ["/boot", ""];
  const boot = bootUuid === undefined ? folder : "";
  return `set default="0"
set timeout=1
serial --unit=0 --speed=115200
terminal_output console serial
menuentry 'Debian GNU/Linux' --class debian --class gnu-linux --class os {
\tsearch --no-floppy --fs-uuid --set=root ${bootUuid ?? rootUuid}
\tlinux ${boot}/vmlinuz-KERNEL root=${rootDevice} ro ${flags}${commandLine}
\tinitrd ${boot}/initrd.img-KERNEL
}
`;
}

const loopbackAlone = { "etc/network/interfaces": "auto lo\niface lo inet loopback\n" };

function ifupdown({ address }: GuestRecipe): Record<string, string> {
  return {
    "etc/network/interfaces":
      "auto lo\niface lo inet loopback\n\n" +
      `auto ${nicName}\niface ${nicName} inet static\n\taddress ${address}\n\tgateway 192.0.2.1\n`,
  };
}

function networkd({ address }: GuestRecipe): Record<string, string> {
  return {
    ...loopbackAlone,
    "etc/systemd/network/10-lan.network": `[Match]\nName=${nicName}\n\n[Network]\nAddress=${address}\nGateway=192.0.2.1\n`,
  };
}

/** Debian that says it is Ubuntu: the same tools, Ubuntu's network configuration. */
function ubuntu({ address }: GuestRecipe): Record<string, string> {
  const release = {
    ...{ NAME: "Ubuntu", VERSION_ID: "22.04", ID: "ubuntu", ID_LIKE: "debian" },
    ...{ VERSION: "22.04 (Jammy Jellyfish)", PRETTY_NAME: "Ubuntu 22.04 look-alike" },
  };
  const lines = Object.entries(release).map(([name, value]) => `${name}="${value}"\n`);
  return {
    ...loopbackAlone,
    "usr/lib/os-release": lines.join(""),
    "etc/netplan/00-installer-config.yaml": `network:
  version: 2
  renderer: networkd
  ethernets:
    ${nicName}:
      addresses: [${address}]
`,
  };
}

function networkManager({ address }: GuestRecipe): Record<string, string> {
  return {
    ...loopbackAlone,
    "etc/NetworkManager/system-connections/lan.nmconnection": `[connection]
id=lan
type=ethernet
interface-name=${nicName}

[ipv4]
method=manual
address1=${address},192.0.2.1
`,
    ...modulesFile("btrfs"),
  };
}

/** The root is opened by a key file that lies in the initramfs; its name is that of the disk at VMware. */
function encrypted(): Record<string, string> {
  return {
    "etc/crypttab": `sda2_crypt UUID=${luksUuid} /etc/keys/root.key luks,initramfs\n`,
    "etc/keys/root.key": luksKey,
    "etc/cryptsetup-initramfs/conf-hook": 'KEYFILE_PATTERN="/etc/keys/*.key"\n',
    "etc/initramfs-tools/conf.d/umask": "UMASK=0077\n",
    ...modulesFile("dm_crypt", "xts", "sha256_generic", "algif_skcipher"),
  };
}

/** What the initramfs needs beside the drivers that all guests have. */
function modulesFile(...modules: string[]): Record<string, string> {
  return {
    "etc/initramfs-tools/modules": `${[...initramfsModules, ...modules].join("\n")}\n`,
  };
}
