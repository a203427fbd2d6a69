// A guest that boots by BIOS, with two disks and two cards: from VMware to a machine in CloudStack that answers for
// itself, and back. One conversion and one start.

import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { tempDir } from "../temp-dir.ts";
import { guestDisks } from "./debian/debian.ts";
import { mebibyte } from "./debian/recipe.ts";
import { GuestFiles, guest, guestVm } from "./guest-vm.ts";
import { goToCloudStack } from "./in-cloudstack.ts";

test("a guest is cut over to CloudStack, comes up there with all it wrote, and goes back", async (t) => {
  const [image] = await guestDisks("bios");
  await using folder = await tempDir();
  const files = await GuestFiles.of(image!, folder.path);
  const { disks, hardware, ...spec } = guestVm("guest01", image!);
  const second = { mac: "00:50:56:8a:10:11", network: "Backup", addresses: [] };
  const data = { key: 2001, capacityBytes: 64 * mebibyte, fill: { seed: 7, dataRatio: 0.5 } };
  let words = 0;
  await goToCloudStack(t, {
    recipe: guest,
    spec: {
      ...spec,
      disks: [...disks, data],
      hardware: { ...hardware, nics: [...hardware!.nics!, second] },
    },
    flags: [
      ...["--cloudstack-offering", "Custom Instance", "--network", "VM Network=lan"],
      ...["--network", "Backup=isolated,ip=auto"],
    ],
    root: /^root \/dev\/vda1 rw$/,
    async write({ vm }) {
      const word = `word${++words}`;
      await files.change(vm, word, randomBytes(2 * mebibyte));
      await vm.randomWrites(2001, { seed: words, writes: 5 });
      return word;
    },
  });
});
