// What is tested of each release of a phony Windows, with BIOS and UEFI, by the real virt-v2v: the verdict, the driver that
// was chosen, and that nothing reaches a target (convert-phony.ts).

import assert from "node:assert/strict";
import { test } from "node:test";
import { convertPhony, mac, objections } from "./convert-phony.ts";
import { type ReleaseName, releases } from "./system.ts";

export interface Row {
  readonly release: ReleaseName;
  /** Of virtio-win: the release's own folder. */
  readonly drivers: string;
  readonly machine: "pc" | "q35";
  /** A hibernated one, and one on a full disk, have it as well. */
  readonly refused?: "bios" | "uefi";
}

const everyFolder = ["2k16", "2k19", "2k22", "2k25", "w10", "w11"];

export function testReleases(table: readonly Row[]): void {
  for (const { release, drivers, machine, refused } of table) {
    for (const firmware of ["bios", "uefi"] as const) {
      const guest = { release, firmware, state: "shut-down" } as const;

      test(`${release} with ${firmware} and drivers boots on virtio, with the driver of its release`, async (t) => {
        const conversion = await convertPhony(t, guest, everyFolder, async (look) => {
          const driver = await look(["cat /Windows/System32/drivers/viostor.sys"]);
          assert.equal(driver.trim(), `phony viostor ${drivers} sys`);
        });
        assert.equal(objections(conversion), "");
        assert.equal(conversion.verdict, "boots");
        assert.deepEqual(conversion.hardware, {
          ...{ controller: "virtio", firmware, secureBoot: false },
          machine: firmware === "uefi" ? "q35" : machine,
          nics: [{ mac, model: "virtio" }],
        });
        assert.equal(conversion.guest.os, "windows");
        assert.equal(conversion.guest.product, releases[release].product);
        // virt-v2v itself makes the fallback of UEFI (windows.newest.test.ts).
        assert.deepEqual(conversion.repairs, []);
      });
    }
    if (refused === undefined) continue;

    test(`${release} without drivers for it will not boot`, async (t) => {
      const guest = { release, firmware: refused, state: "shut-down" } as const;
      // With virt-v2v 2.2 Server 2025 would get those of 2016, or of 2022, with which it does, and 11 those of 10
      // (v2v/virtio-win.ts).
      const taken = { "server-2025": ["2k16", "2k22"], "windows-11": ["w10"] };
      const newest = taken[release as keyof typeof taken] ?? [];
      const others = everyFolder.filter((folder) => ![drivers, ...newest].includes(folder));
      const conversion = await convertPhony(t, guest, others);
      assert.equal(conversion.verdict, "will-not-boot");
      assert.match(
        objections(conversion),
        /no virtio drivers available[\s\S]*has no virtio driver for its disks/,
      );
    });

    for (const [state, reason] of [
      ["hibernated", /Windows Hibernation or Fast Restart/],
      ["full", /not enough free space for conversion on filesystem/],
    ] as const) {
      test(`${release} ${state === "full" ? "on a full disk" : "that is hibernated"} will not boot, and the reason is said`, async (t) => {
        const guest = { release, firmware: refused, state } as const;
        const conversion = await convertPhony(t, guest, everyFolder);
        assert.equal(conversion.verdict, "will-not-boot");
        assert.match(objections(conversion), reason);
      });
    }
  }
}
