// Guests of other kinds: each is converted by hand, boots from its targets on virtio where the firmware shows the first
// disk alone, as CloudStack's does, says that its files and its address are there, and comes back byte for byte.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startMachine } from "../lab/guest-machine.ts";
import { GuestByHand } from "./by-hand.ts";
import { recipes } from "./debian/recipe.ts";
import { expectWords } from "./guest-words.ts";

const bootTimeoutMs = 300_000;

interface Kind {
  readonly name: "lvm-boot" | "btrfs" | "luks";
  readonly what: string;
  readonly repairs: readonly string[];
  /** As the guest has it on virtio. [as at VMware] */
  readonly root?: string;
  /** In guestfish's place. */
  readonly standIn?: string;
}

/** guestfish whose first appliance says what one says that took one disk for another (src/guest/v2v/classify.ts). */
const takesAnotherDisk = `[ -e "$HERE/started" ] && exec /usr/bin/guestfish "$@"
touch "$HERE/started"
sed -u "s#^-.*inspect-get-type.*#-mount 'expecting a btrfs volume' /#" | /usr/bin/guestfish "$@"`;

const kinds: readonly Kind[] = [
  {
    name: "lvm-boot",
    what: "laid out as Ubuntu, GPT with a BIOS, LVM over two disks and netplan",
    repairs: ["nic-names"],
  },
  {
    name: "btrfs",
    what: "with UEFI, its root in a subvolume of Btrfs, and NetworkManager",
    repairs: ["efi-boot", "device-names", "nic-names"],
    root: "/dev/vda2[/@rootfs]",
    standIn: takesAnotherDisk,
  },
];

for (const { name, what, repairs, root, standIn } of kinds) {
  const recipe = recipes[name];

  test(`a guest ${what} boots from its targets, and comes back as it was`, async () => {
    await using vm = await GuestByHand.start(name);
    const before = await vm.digests();
    if (standIn !== undefined) await vm.standIn("guestfish", standIn);
    const { code, stdout, stderr } = await vm.command("convert");
    assert.equal(code, 0, stderr);
    if (standIn !== undefined) assert.match(stderr, /took one disk for another.*trying again/);
    const { conversion } = JSON.parse(stdout);
    expectBoots(conversion, recipe.firmware, repairs);
    await using started = await startMachine({
      ...{ hardware: "virtio", firmware: recipe.firmware, mac: recipe.mac },
      ...{ machine: conversion.hardware.machine, disks: await vm.copies() },
    });
    await expectWords(started, recipe, { marker: "one", timeoutMs: bootTimeoutMs, root });
    await vm.run("rollback");
    assert.deepEqual(await vm.digests(), before);
  });
}

function expectBoots(
  conversion: {
    verdict: string;
    hardware: { controller: string; firmware: string };
    repairs: { name: string }[];
    findings: unknown[];
  },
  firmware: string,
  repairs: readonly string[],
) {
  assert.equal(conversion.verdict, "boots", JSON.stringify(conversion.findings));
  assert.equal(conversion.hardware.controller, "virtio");
  assert.equal(conversion.hardware.firmware, firmware);
  const repaired = conversion.repairs.map(({ name }) => name);
  for (const name of repairs) assert.ok(repaired.includes(name), `${repaired}`);
}
