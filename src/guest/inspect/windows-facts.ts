/** What decides whether a Windows guest boots, read from it. */
import type { Guestfish } from "../guestfish/guestfish.ts";
import { Hive } from "./hive.ts";
import type { Inspected } from "./inspect.ts";
import { readWindowsRelease } from "./windows-release.ts";

export interface WindowsFacts {
  /** Of disks on virtio, then on virtio-scsi. */
  readonly drivers: readonly WindowsDriver[];
  readonly hasNetDriver: boolean;
  readonly build?: number;
  /** Hibernated, or shut down by fast start: its memory waits to be taken up. */
  readonly hibernated: boolean;
}

export interface WindowsDriver {
  readonly name: "viostor" | "vioscsi";
  /** Of the service: 0 is at boot. */
  readonly start: number | undefined;
  readonly hasFile: boolean;
  /** Windows is told which device the driver is for. */
  readonly isBound: boolean;
}

/** As their .inf files and virt-v2v write them: the older form of the device, and the newer. */
const devices: Readonly<Record<WindowsDriver["name"], readonly string[]>> = {
  viostor: ["VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00", "VEN_1AF4&DEV_1042&SUBSYS_11001AF4&REV_01"],
  vioscsi: ["VEN_1AF4&DEV_1004&SUBSYS_00081AF4&REV_00", "VEN_1AF4&DEV_1048&SUBSYS_11001AF4&REV_01"],
};

export async function readWindowsFacts(
  guestfish: Guestfish,
  inspected: Inspected,
): Promise<WindowsFacts> {
  const { systemRoot = "/Windows", controlSet = "ControlSet001" } = inspected;
  const system = await Hive.open(guestfish, `${systemRoot}/System32/config/SYSTEM`);
  const drivers: WindowsDriver[] = [];
  for (const name of ["viostor", "vioscsi"] as const) {
    const service = await system?.key(controlSet, "Services", name);
    if (system === undefined || service === undefined) continue;
    const start = await system.number(service, "Start");
    const hasFile = await fileExists(guestfish, `${systemRoot}/System32/drivers/${name}.sys`);
    drivers.push({ name, start, hasFile, isBound: await isBound(system, controlSet, name) });
  }
  const { build } = await readWindowsRelease(guestfish, inspected);
  return {
    drivers,
    hasNetDriver: await fileExists(guestfish, `${systemRoot}/Drivers/VirtIO/netkvm.inf`),
    ...(build === undefined ? {} : { build }),
    hibernated: await isHibernated(guestfish),
  };
}

/** Windows 8 and newer have a database of drivers, older ones a list of critical devices. */
async function isBound(
  system: Hive,
  controlSet: string,
  name: WindowsDriver["name"],
): Promise<boolean> {
  const databases = [
    { path: ["DriverDatabase", "DeviceIds", "PCI"], prefix: "" },
    { path: [controlSet, "Control", "CriticalDeviceDatabase"], prefix: "PCI#" },
  ];
  for (const { path, prefix } of databases) {
    for (const id of devices[name]) {
      if ((await system.key(...path, prefix + id)) !== undefined) return true;
    }
  }
  return false;
}

async function fileExists(guestfish: Guestfish, path: string): Promise<boolean> {
  const real = (await guestfish.attempt("case-sensitive-path", path))?.trim();
  return real !== undefined && (await guestfish.isTrue("is-file", real));
}

/** "hibr" or "HIBR" begins its image; after a start from it there is "wake", or zeroes. */
async function isHibernated(guestfish: Guestfish): Promise<boolean> {
  const real = (await guestfish.attempt("case-sensitive-path", "/hiberfil.sys"))?.trim();
  if (real === undefined || !(await guestfish.isTrue("is-file", real))) return false;
  const size = Number(await guestfish.attempt("filesize", real));
  if (!(size >= 4)) return false;
  const head = await guestfish.bytes("pread", real, "4", "0");
  return /^(hibr|rstr)$/i.test(head.toString("latin1"));
}
