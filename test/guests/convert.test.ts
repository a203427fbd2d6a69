// A guest with UEFI whose root and /boot lie on two disks, on two servers: converted by hand, without any vCenter. It is
// told that firmware may show GRUB one disk alone; where it shows both, it boots with an empty NVRAM on virtio, and the
// way back is byte for byte.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startMachine } from "../lab/guest-machine.ts";
import { GuestByHand } from "./by-hand.ts";
import { recipes } from "./debian/recipe.ts";
import { expectWords } from "./guest-words.ts";

const guest = recipes["uefi-lvm"];
const bootTimeoutMs = 300_000;

test("a guest with UEFI and LVM over two disks boots from its targets, and comes back as it was", async () => {
  await using vm = await GuestByHand.start("uefi-lvm");
  const before = await vm.digests();
  const { conversion } = await vm.run("convert", "--accept-look");
  assert.equal(conversion.verdict, "look");
  const looks = conversion.findings.filter(({ level }: { level: string }) => level === "look");
  assert.deepEqual(
    looks.map(({ text }: { text: string }) => text.slice(0, 28)),
    ["/boot lies on disk 1 and 2, "],
  );
  const { controller, firmware, machine } = conversion.hardware;
  assert.deepEqual([controller, firmware], ["virtio", "uefi"]);
  const repaired = conversion.repairs.map(({ name }: { name: string }) => name);
  for (const name of ["efi-boot", "nic-names"]) assert.ok(repaired.includes(name), `${repaired}`);

  await using started = await startMachine({
    ...{ hardware: "virtio", firmware: "uefi", mac: guest.mac, machine, bootDisks: "all" },
    disks: await vm.copies(),
  });
  await expectWords(started, guest, { marker: "one", timeoutMs: bootTimeoutMs });

  await vm.run("rollback");
  assert.deepEqual(await vm.digests(), before);
});
