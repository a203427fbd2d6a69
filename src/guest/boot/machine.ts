/** The command line of QEMU for the hardware that CloudStack will give. */
import type { ConvertedHardware } from "../conversion.ts";
import type { Accelerator } from "./accelerator.ts";
import type { FirmwareFiles } from "./firmware.ts";

export interface MachinePlan {
  readonly hardware: ConvertedHardware;
  /** qcow2 files in the VM's order. */
  readonly disks: readonly string[];
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly accelerator: Accelerator;
  /** Absent with BIOS, which QEMU brings itself. */
  readonly firmware: FirmwareFiles | undefined;
  /** Unix sockets: QEMU listens at the first, we at the other. */
  readonly qmpSocket: string;
  readonly lanSocket: string;
  /** Windows keeps local time in the clock. */
  readonly localTime: boolean;
}

export const diskNode = (index: number): string => `disk${index}`;

/** Nothing in it is taken from a shell or a configuration file; the guest reaches no network. */
export function qemuArguments(plan: MachinePlan): string[] {
  const { hardware, disks, accelerator } = plan;
  return [
    ...["-nodefaults", "-no-user-config", "-name", "migratekit-rehearsal"],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-machine", machineText(plan), "-cpu", accelerator === "kvm" ? "host" : "max"],
    ...["-m", `${plan.memoryMiB}M`, "-smp", String(plan.cpus)],
    ...["-rtc", `base=${plan.localTime ? "localtime" : "utc"}`],
    ...["-display", "none", "-device", "VGA"],
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-qmp", `unix:${escaped(plan.qmpSocket)},server=on,wait=off`],
    ...firmwareArguments(plan.firmware),
    ...controllerArguments(hardware),
    ...disks.flatMap((path, index) => diskArguments(path, index, hardware)),
    ...hardware.nics.flatMap((nic, index) => nicArguments(nic, index, plan.lanSocket)),
  ];
}

/** With `graphics=off` the BIOS shows its words, and a boot loader's, on the console too. */
function machineText({ hardware, accelerator, firmware }: MachinePlan): string {
  const smm = hardware.secureBoot ? ",smm=on" : "";
  const graphics = firmware === undefined ? ",graphics=off" : "";
  return `${hardware.machine},accel=${accelerator}${smm}${graphics}`;
}

function firmwareArguments(firmware: FirmwareFiles | undefined): string[] {
  if (firmware === undefined) return [];
  const { code, nvram, secure } = firmware;
  return [
    ...(secure ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : []),
    ...["-drive", `if=pflash,unit=0,format=raw,readonly=on,file=${escaped(code)}`],
    ...["-drive", `if=pflash,unit=1,format=raw,file=${escaped(nvram)}`],
  ];
}

function controllerArguments({ controller, machine }: ConvertedHardware): string[] {
  if (controller === "scsi") return ["-device", "virtio-scsi-pci,id=scsi0"];
  return controller === "sata" && machine === "pc" ? ["-device", "ich9-ahci,id=sata0"] : [];
}

function diskArguments(path: string, index: number, hardware: ConvertedHardware): string[] {
  const node = {
    ...{ driver: "qcow2", "node-name": diskNode(index), discard: "unmap" },
    file: { driver: "file", filename: path },
  };
  const boot = index === 0 ? ",bootindex=1" : "";
  const device = `${deviceText(index, hardware)},drive=${diskNode(index)}${boot}`;
  return ["-blockdev", JSON.stringify(node), "-device", device];
}

function deviceText(index: number, { controller, machine }: ConvertedHardware): string {
  if (controller === "virtio") return "virtio-blk-pci";
  if (controller === "scsi") return `scsi-hd,bus=scsi0.0,scsi-id=${index}`;
  if (controller === "sata" && machine === "pc") return `ide-hd,bus=sata0.${index}`;
  // Six ports of AHCI at q35; two channels with two disks each at pc.
  if (machine === "q35") return `ide-hd,bus=ide.${index}`;
  return `ide-hd,bus=ide.${Math.floor(index / 2)},unit=${index % 2}`;
}

/** Without a ROM, which would ask the network for something to boot. */
function nicArguments(
  { mac, model }: ConvertedHardware["nics"][number],
  index: number,
  socket: string,
): string[] {
  const device = model === "virtio" ? "virtio-net-pci" : "e1000";
  const lan = `stream,id=lan${index},server=off,addr.type=unix,addr.path=${escaped(socket)}`;
  return ["-netdev", lan, "-device", `${device},netdev=lan${index},mac=${mac},romfile=`];
}

/** A comma ends a value, unless it is doubled. */
function escaped(value: string): string {
  return value.replaceAll(",", ",,");
}
