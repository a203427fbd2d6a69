/** Guests that nothing here can convert, told by vSphere's own name for them before anything is done. */
import { MigratekitError } from "../errors.ts";
import type { GuestHardware } from "./machine.ts";

/** Beginnings of vim25's VirtualMachineGuestOsIdentifier, in lower case. */
const unsupported: readonly (readonly [prefix: string, product: string])[] = [
  ["freebsd", "FreeBSD"],
  ["darwin", "macOS"],
  ["solaris", "Solaris"],
  ["netware", "NetWare"],
  ["nld9", "Novell Linux Desktop"],
  ["os2", "OS/2"],
  ["ecomstation", "eComStation"],
  ["dos", "MS-DOS"],
  ["openserver", "SCO OpenServer"],
  ["unixware", "SCO UnixWare"],
  ["vmkernel", "VMware ESXi"],
  ["crxpod", "a vSphere pod"],
  ["win31", "Windows 3.1"],
  ["win95", "Windows 95"],
  ["win98", "Windows 98"],
  ["winme", "Windows Me"],
  ["winnt", "Windows NT"],
  ["win2000", "Windows 2000"],
];

/** @throws MigratekitError `guest-unsupported` */
export function refuseUnsupported({
  name,
  guestId = "",
}: Pick<GuestHardware, "name" | "guestId">): void {
  const id = guestId.toLowerCase();
  const product = unsupported.find(([prefix]) => id.startsWith(prefix))?.[1];
  if (product === undefined) return;
  throw new MigratekitError(
    "guest-unsupported",
    `${name} is ${product} (${guestId}), for which there is no conversion`,
    { context: { guestId } },
  );
}
