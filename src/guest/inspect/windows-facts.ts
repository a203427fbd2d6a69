/** What decides whether a Windows guest boots, read from it. */
import type { Guestfish } from "../guestfish/guestfish.ts";
import { Hive } from "./hive.ts";
import type { Inspected } from "./inspect.ts";

export interface WindowsFacts {
  /** Of disks on virtio, then on virtio-scsi. */
  readonly drivers: readonly WindowsDriver[];
  readonly hasNetDriver: boolean;
  readonly build?: number;
  readonly isServer: boolean;
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

const devices = { viostor: ["1001", "1042"], vioscsi: ["1004", "1048"] } as const;

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
  const software = await Hive.open(guestfish, `${systemRoot}/System32/config/SOFTWARE`);
  const version = await software?.key("Microsoft", "Windows NT", "CurrentVersion");
  const text = async (name: string) =>
    software && version ? (await software.texts(version, name))[0] : undefined;
  const build = Number(await text("CurrentBuildNumber")) || Number(await text("CurrentBuild"));
  return {
    drivers,
    hasNetDriver: await fileExists(guestfish, `${systemRoot}/Drivers/VirtIO/netkvm.inf`),
    ...(build > 0 ? { build } : {}),
    isServer: /server/i.test((await text("InstallationType")) ?? (await text("ProductName")) ?? ""),
    hibernated: await isHibernated(guestfish),
  };
}

/** Windows 8 and newer have a database of drivers, older ones a list of critical devices. */
async function isBound(
  system: Hive,
  controlSet: string,
  name: keyof typeof devices,
): Promise<boolean> {
  const places = [
    ["DriverDatabase", "DeviceIds", "PCI"],
    [controlSet, "Control", "CriticalDeviceDatabase"],
  ];
  for (const place of places) {
    for (const device of devices[name]) {
      for (const id of idsOf(device, place.length === 3 && place[0] === "DriverDatabase")) {
        if ((await system.key(...place, id)) !== undefined) return true;
      }
    }
  }
  return false;
}

/** As virt-v2v writes them. */
function idsOf(device: string, database: boolean): string[] {
  const subsystems: Readonly<Record<string, string>> = {
    "1001": "SUBSYS_00021AF4&REV_00",
    "1042": "SUBSYS_11001AF4&REV_01",
    "1004": "SUBSYS_00081AF4&REV_00",
    "1048": "SUBSYS_11001AF4&REV_01",
  };
  const id = `VEN_1AF4&DEV_${device}&${subsystems[device]}`;
  return [database ? id : `PCI#${id}`];
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
