// A machine of QEMU as VMware has it (pvscsi, vmxnet3 in slot 192, its firmware's own boot entry), or as
// a plain KVM host has it (virtio). It stands for the machine before a migration, and judges one after it:
// the verdict is what the guest says on its serial console. Its disks are only read.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guardFolder, type ProcessGroup, releaseFolder, startForeground } from "./process.ts";

export interface MachineSpec {
  hardware: "vmware" | "virtio";
  firmware: "bios" | "uefi";
  /** In order, the boot disk first; anything that qemu-img can open, raw where no format is told. */
  disks: readonly { path: string; format?: string }[];
  mac: string;
  /** Bare `virtio` has an empty NVRAM, as a new machine has; VMware's remembers this loader. */
  loader?: string;
  machine?: "pc" | "q35";
  /** Bare `virtio`: what its firmware is told to boot from, and opens. [first] */
  bootDisks?: "first" | "all";
}

export interface GuestMachine extends AsyncDisposable {
  /** All that was printed so far. */
  console(): string;
  /** Waits for a line of the console. @throws with the console's end once the time is over, or it has ended */
  says(pattern: RegExp, timeoutMs: number): Promise<string>;
}

const ovmf = "/usr/share/OVMF";

export async function startMachine(spec: MachineSpec): Promise<GuestMachine> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "guest-machine-"));
  guardFolder(folder);
  stack.defer(async () => {
    await rm(folder, { recursive: true, force: true });
    releaseFolder(folder);
  });
  const args = [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-device", "VGA", "-serial", "stdio"],
    ...["-accel", hasKvm() ? "kvm" : "tcg", "-cpu", "max", "-m", "768", "-smp", "1"],
    ...(await firmwareArgs(spec, folder)),
    ...(spec.hardware === "vmware" ? vmwareArgs(spec) : virtioArgs(spec)),
    ...spec.disks.flatMap((disk, index) => [
      "-drive",
      `if=none,id=disk${index},${imageText(disk)}`,
    ]),
    // A cable that leads nowhere.
    ...["-netdev", "hubport,id=lan,hubid=0"],
  ];
  const group = await startForeground("qemu-system-x86_64", args);
  stack.defer(() => group.stop());
  const owned = stack.move();
  return {
    console: group.output,
    says: (pattern, timeoutMs) => says(group, pattern, timeoutMs),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

let known: boolean | undefined;

/**
 * Whether the installed kernel comes to its end on KVM, without a root to mount. There are devices that make no machine,
 * and such as make one that stands still, or crawls.
 */
export function hasKvm(): boolean {
  const kernel = readdirSync("/boot").find((name) => name.startsWith("vmlinuz-"));
  const machine = ["-machine", "pc", "-accel", "kvm", "-cpu", "max", "-m", "256", "-no-reboot"];
  const shown = ["-nodefaults", "-display", "none", "-serial", "stdio"];
  const start = ["-kernel", `/boot/${kernel}`, "-append", "console=ttyS0 panic=-1"];
  known ??= spawnSync("qemu-system-x86_64", [...machine, ...shown, ...start], {
    timeout: 10_000,
    encoding: "latin1",
  }).stdout.includes("Kernel panic");
  return known;
}

/** ens192, as the guests of VMware know it, is the hot-plug slot of the first card. */
function vmwareArgs({ disks, mac, firmware }: MachineSpec): string[] {
  return [
    ...["-machine", "q35", "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"],
    ...["-device", "pvscsi,id=scsi0"],
    ...(firmware === "uefi" ? firmwareView(disks) : []),
    ...disks.flatMap((_, index) => [
      "-device",
      `scsi-hd,bus=scsi0.0,scsi-id=${index},drive=disk${index}${index === 0 ? ",bootindex=1" : ""}`,
    ]),
    ...["-device", "pcie-root-port,id=port192,slot=192,chassis=1"],
    ...["-device", `vmxnet3,bus=port192,netdev=lan,mac=${mac},romfile=`],
  ];
}

/**
 * OVMF as distributions build it has no driver for pvscsi, which VMware's firmware has. So it finds the same
 * disks at AHCI as well, for which the guests' kernel in turn has no driver.
 */
function firmwareView(disks: MachineSpec["disks"]): string[] {
  return disks.flatMap((disk, index) => [
    ...["-drive", `if=none,id=view${index},${imageText(disk)}`],
    ...["-device", `ide-hd,bus=ide.${index},drive=view${index}`],
  ]);
}

function imageText({ path, format = "raw" }: MachineSpec["disks"][number]): string {
  return `format=${format},file=${path.replaceAll(",", ",,")},snapshot=on`;
}

function virtioArgs({ disks, mac, machine = "pc", bootDisks }: MachineSpec): string[] {
  const boots = (index: number) => index === 0 || bootDisks === "all";
  return [
    ...["-machine", machine],
    ...disks.flatMap((_, index) => [
      "-device",
      `virtio-blk-pci,drive=disk${index}${boots(index) ? `,bootindex=${index + 1}` : ""}`,
    ]),
    ...["-device", `virtio-net-pci,netdev=lan,mac=${mac},romfile=`],
  ];
}

async function firmwareArgs(spec: MachineSpec, folder: string): Promise<string[]> {
  if (spec.firmware === "bios") return [];
  const flash = await ovmfArgs(folder);
  return spec.loader === undefined ? flash : [...flash, ...(await bootEntry(spec.loader, folder))];
}

/** UEFI firmware with an empty NVRAM, which lies in the folder. */
export async function ovmfArgs(folder: string): Promise<string[]> {
  const nvram = join(folder, "nvram.fd");
  await copyFile(`${ovmf}/OVMF_VARS_4M.fd`, nvram);
  return [
    `if=pflash,unit=0,format=raw,readonly=on,file=${ovmf}/OVMF_CODE_4M.fd`,
    `if=pflash,unit=1,format=raw,file=${nvram}`,
  ].flatMap((text) => ["-drive", text]);
}

/**
 * Stands for the entry that VMware's NVRAM has for the loader: the firmware, which finds nothing else,
 * runs this script of a small volume.
 */
async function bootEntry(loader: string, folder: string): Promise<string[]> {
  const volume = join(folder, "entry");
  await mkdir(volume);
  const path = loader.replaceAll("/", "\\");
  const lines = [0, 1, 2, 3].map(
    (n) => `if exist fs${n}:${path} then\r\n  fs${n}:${path}\r\nendif\r\n`,
  );
  await writeFile(join(volume, "startup.nsh"), lines.join(""));
  return [
    ...["-drive", `if=none,id=entry,format=raw,file=fat:${volume},readonly=on`],
    ...["-device", "nec-usb-xhci", "-device", "usb-storage,drive=entry,removable=on"],
  ];
}

/** Waits for a line of what it printed. @throws with its end once the time is over, or it has ended */
export async function says(
  group: Pick<ProcessGroup, "output" | "isAlive">,
  pattern: RegExp,
  timeoutMs: number,
): Promise<string> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = pattern.exec(group.output());
    if (found) return found[0];
    if (Date.now() > deadline || !group.isAlive()) {
      const end = group.isAlive() ? `within ${timeoutMs / 1000} s` : "before it ended";
      throw new Error(`the guest did not say ${pattern} ${end}:\n${group.output().slice(-3000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
