import type { Guestfish } from "../guestfish/guestfish.ts";
import type { Inspected } from "../inspect/inspect.ts";
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
    free: await freeSpace(guestfish, inspected),
    unknownNics: linux ? (await pinsNeeded(guestfish, nics)).unknown : [],
  };
}

async function hasBootCode(guestfish: Guestfish): Promise<boolean> {
  const sector = await guestfish.bytes("pread-device", "/dev/sda", String(sectorBytes), "0");
  const signed = sector[510] === 0x55 && sector[511] === 0xaa;
  return signed && sector.subarray(0, bootCodeBytes).some((byte) => byte !== 0);
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
