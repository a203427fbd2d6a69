import assert from "node:assert/strict";
import { test } from "node:test";
import { refuseUnsupported } from "../../src/guest/unsupported.ts";

const machine = (guestId?: string) => ({
  ...{
    name: "vm",
    firmware: "bios" as const,
    secureBoot: false,
    cpus: 1,
    memoryMiB: 512,
    nics: [],
  },
  ...(guestId === undefined ? {} : { guestId }),
});

test("guests that nothing converts are refused by the product's name", () => {
  const cases = {
    freebsd14_64Guest: "FreeBSD",
    darwin21_64Guest: "macOS",
    solaris11_64Guest: "Solaris",
    netware6Guest: "NetWare",
    os2Guest: "OS/2",
    dosGuest: "MS-DOS",
    openServer6Guest: "SCO OpenServer",
    unixWare7Guest: "SCO UnixWare",
    vmkernel7Guest: "VMware ESXi",
    win2000ServGuest: "Windows 2000",
    winNTGuest: "Windows NT",
  };
  for (const [guestId, product] of Object.entries(cases)) {
    assert.throws(() => refuseUnsupported(machine(guestId)), {
      code: "guest-unsupported",
      message: `vm is ${product} (${guestId}), for which there is no conversion`,
    });
  }
});

test("what virt-v2v may know is let through, and so is a guest that nobody has named", () => {
  const ids = [
    ...["debian12_64Guest", "rhel9_64Guest", "sles15_64Guest", "ubuntu64Guest", "otherGuest64"],
    ...["windows2019srv_64Guest", "windows9_64Guest", "winXPProGuest", "winNetStandardGuest"],
    ...["other5xLinux64Guest", undefined],
  ];
  for (const guestId of ids) refuseUnsupported(machine(guestId));
});
