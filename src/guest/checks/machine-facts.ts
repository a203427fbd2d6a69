import type { Guestfish } from "../guestfish/guestfish.ts";
import type { Inspected } from "../inspect/inspect.ts";
import { devicesUnder } from "../inspect/layers.ts";
import type { GuestHardware } from "../machine.ts";
import { hasFallback, withEsp } from "../repairs/efi.ts";
import { pinsNeeded } from "../repairs/nics.ts";
import type { MachineFacts } from "./machine.ts";

const bootCodeBytes = 440;
const sectorBytes = 512;

export async function readMachineFacts(
  guestfish: Guestfish,
  inspected: Inspected,
  { firmware, secureBoot, nics }: GuestHardware,
): Promise<MachineFacts> {
  const esp = await withEsp(guestfish, async (efi) => ({
    hasEsp: efi !== undefined,
    hasFallback: efi !== undefined && (await hasFallback(guestfish, efi)),
  }));
  const linux = inspected.system.os === "linux";
  return {
    ...{ firmware, secureBoot },
    ...esp,
    hasBootCode: await hasBootCode(guestfish),
    bootFilesOn: linux ? await bootFilesOn(guestfish, inspected) : [],
    free: await freeSpace(guestfish, inspected),
    unknownNics: linux ? (await pinsNeeded(guestfish, nics)).unknown : [],
  };
}

async function hasBootCode(guestfish: Guestfish): Promise<boolean> {
  const sector = await guestfish.bytes("pread-device", "/dev/sda", String(sectorBytes), "0");
  const signed = sector[510] === 0x55 && sector[511] === 0xaa;
  return signed && sector.subarray(0, bootCodeBytes).some((byte) => byte !== 0);
}

/** The disks that what GRUB reads lies on, by the appliance's names; none where that is not known. */
async function bootFilesOn(guestfish: Guestfish, { mounts }: Inspected): Promise<string[]> {
  const device = (mounts.get("/boot") ?? mounts.get("/") ?? "").replace(/^btrfsvol:/, "");
  const disks = (await devicesUnder(guestfish, device)).flatMap((each) => diskOf(each) ?? []);
  return [...new Set(disks)].sort();
}

/** /dev/sda of /dev/sda2, or of a subvolume on it. */
function diskOf(device: string): string | undefined {
  return /^(\/dev\/sd[a-z]+)\d*(\/|$)/.exec(device)?.[1];
}

async function freeSpace(guestfish: Guestfish, { mounted }: Inspected) {
  const free: { mountPoint: string; bytes: number }[] = [];
  for (const mountPoint of ["/", "/boot"]) {
    if (!mounted.has(mountPoint)) continue;
    const text = (await guestfish.attempt("statvfs", mountPoint)) ?? "";
    const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(text)?.[1]);
    const bytes = field("bfree") * field("bsize");
    if (Number.isFinite(bytes)) free.push({ mountPoint, bytes });
  }
  return free;
}
