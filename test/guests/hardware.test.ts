// Each guest as it comes from VMware: it boots there, and on another's hardware it does not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startMachine } from "../lab/guest-machine.ts";
import { guestDisks } from "./debian/debian.ts";
import { type GuestName, recipes } from "./debian/recipe.ts";
import { expectWords, rawDisks } from "./guest-words.ts";

const bootTimeoutMs = 240_000;

/** The firmware's shell, or its word that there is nothing else. */
const noBootEntry = /UEFI Interactive Shell|No bootable option/;
/** How a machine without the right drivers, or without a boot entry, ends. */
const deadEnds: Readonly<Record<GuestName, RegExp>> = {
  bios: /ALERT! +\/dev\/sda1 does not exist[\s\S]*\(initramfs\)/,
  "uefi-lvm": noBootEntry,
  "lvm-boot": /ubuntu--lv does not exist[\s\S]*\(initramfs\)/,
  btrfs: noBootEntry,
  luks: /sda2_crypt[\s\S]*\(initramfs\)/,
};

for (const recipe of Object.values(recipes)) {
  const { name, firmware, mac } = recipe;

  test(`${name} boots on VMware's hardware, with its files and its address`, async () => {
    const disks = rawDisks(await guestDisks(name));
    const loader = firmware === "uefi" ? { loader: "/EFI/debian/grubx64.efi" } : {};
    await using machine = await startMachine({
      hardware: "vmware",
      firmware,
      disks,
      mac,
      ...loader,
    });
    await expectWords(machine, recipe, { marker: "one", timeoutMs: bootTimeoutMs });
  });

  test(`${name} does not boot on virtio as it is`, async () => {
    const disks = rawDisks(await guestDisks(name));
    const kind = firmware === "uefi" ? ("q35" as const) : ("pc" as const);
    await using machine = await startMachine({
      ...{ hardware: "virtio", firmware, disks, mac, machine: kind },
    });
    assert.match(await machine.says(deadEnds[name], bootTimeoutMs), deadEnds[name]);
  });
}
