/** QEMU's command line for a machine of CloudStack: its controllers, firmware, cards and disks. */

import { hasKvm, ovmfArgs } from "../../guest-machine.ts";
import { findFreePort } from "../../ports.ts";
import type { DiskController, NicAdapter } from "../world/records.ts";

export interface MachineHardware {
  readonly cpus: number;
  readonly memoryMiB: number;
  /** `pc` or `q35`; firmware of UEFI has an empty NVRAM at every start. */
  readonly machine: "pc" | "q35";
  readonly uefi: boolean;
  readonly disks: readonly MachineDisk[];
  readonly nics: readonly MachineNic[];
}

export interface MachineDisk {
  readonly file: string;
  readonly serial: string;
  readonly controller: DiskController;
}

export interface MachineNic {
  readonly mac: string;
  readonly adapter: NicAdapter;
  /** Of the network that it is on: then ports of its address can be reached from here. */
  readonly lan?: { readonly cidr: string; readonly gateway: string; readonly ip: string };
}

/** Of the guest, those that a probe may ask for. */
const forwardedPorts = [22, 80, 443, 3389];

export async function machineArgs(
  hardware: MachineHardware,
  folder: string,
  boots: boolean,
): Promise<{ args: string[]; forwards: Map<number, number> }> {
  const forwards = new Map<number, number>();
  const nics: string[] = [];
  for (const [index, nic] of hardware.nics.entries())
    nics.push(...(await nicArgs(nic, index, boots ? forwards : undefined)));
  const { cpus, memoryMiB, machine, uefi, disks } = hardware;
  const args = [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"],
    ...["-machine", machine, "-accel", boots && hasKvm() ? "kvm" : "tcg", "-cpu", "max"],
    ...["-smp", String(boots ? cpus : 1), "-m", String(boots ? memoryMiB : 16)],
    ...(boots ? ["-device", "VGA"] : ["-S"]),
    ...(uefi && boots ? await ovmfArgs(folder) : []),
    ...(disks.some(({ controller }) => controller === "scsi")
      ? ["-device", "virtio-scsi-pci,id=scsi0"]
      : []),
    ...(machine === "pc" && disks.some(({ controller }) => controller === "sata")
      ? ["-device", "ich9-ahci,id=sata"]
      : []),
    ...disks.flatMap((disk, index) => diskArgs(disk, index, machine)),
    ...nics,
  ];
  return { args, forwards };
}

/** The file is opened as it is, with QEMU's locks: it is the volume. */
function diskArgs(disk: MachineDisk, index: number, machine: "pc" | "q35"): string[] {
  const { file, serial, controller } = disk;
  const sata = machine === "q35" ? "ide" : "sata";
  const device = {
    virtio: "virtio-blk-pci",
    scsi: "scsi-hd,bus=scsi0.0",
    ide: `ide-hd,bus=ide.${Math.floor(index / 2)},unit=${index % 2}`,
    sata: `ide-hd,bus=${sata}.${index}`,
  }[controller];
  // As libvirt does where an order of kinds is given, `hd`: the first disk, and no other.
  const boot = index === 0 ? ",bootindex=1" : "";
  const name = `drive=disk${index},serial=${serial}${boot}`;
  return [
    ...["-drive", `if=none,id=disk${index},format=raw,file=${file.replaceAll(",", ",,")}`],
    ...["-device", `${device},${name}`],
  ];
}

async function nicArgs(
  { mac, adapter, lan }: MachineNic,
  index: number,
  forwards: Map<number, number> | undefined,
): Promise<string[]> {
  const model = {
    virtio: "virtio-net-pci",
    e1000: "e1000",
    rtl8139: "rtl8139",
    vmxnet3: "vmxnet3",
  };
  const device = ["-device", `${model[adapter]},netdev=net${index},mac=${mac},romfile=`];
  if (lan === undefined || forwards === undefined)
    return ["-netdev", `hubport,id=net${index},hubid=${index}`, ...device];
  const rules: string[] = [];
  for (const port of forwardedPorts) {
    if (forwards.has(port)) continue;
    const here = await findFreePort();
    forwards.set(port, here);
    rules.push(`hostfwd=tcp:127.0.0.1:${here}-${lan.ip}:${port}`);
  }
  // restrict: the guest reaches nothing of this machine, and has no way out.
  const user = `user,id=net${index},net=${lan.cidr},host=${lan.gateway},restrict=on`;
  return ["-netdev", [user, ...rules].join(","), ...device];
}
