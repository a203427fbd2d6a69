// A guest with UEFI and its root on Btrfs, with two disks and two cards: rehearsed, cut over to CloudStack, where it finds
// an empty NVRAM, and back. Two conversions and two starts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { guestDisks } from "./debian/debian.ts";
import { mebibyte, recipes } from "./debian/recipe.ts";
import { goToCloudStack } from "./in-cloudstack.ts";

const recipe = recipes.btrfs;

test("a guest with UEFI is cut over to CloudStack, comes up there, and goes back", async (t) => {
  const [image] = await guestDisks(recipe.name);
  await goToCloudStack(t, {
    recipe,
    spec: {
      name: "guest02",
      disks: [
        { key: 2000, capacityBytes: recipe.diskBytes[0]!, image: image! },
        { key: 2001, capacityBytes: 64 * mebibyte, fill: { seed: 8, dataRatio: 0.5 } },
      ],
      hardware: {
        ...{ firmware: "efi", secureBoot: false, cpus: 1, memoryMiB: 768 },
        ...{ guestId: "debian12_64Guest", guestFullName: "Debian GNU/Linux 12 (64-bit)" },
        nics: [
          { mac: recipe.mac, network: "VM Network", addresses: [recipe.address] },
          { mac: "00:50:56:8a:10:12", network: "Backup", addresses: [] },
        ],
      },
    },
    flags: [
      ...["--cloudstack-offering", "Custom Instance"],
      ...["--network", "VM Network=lan", "--network", "Backup=isolated,ip=auto"],
    ],
    root: /^root \/dev\/vda2\[\/@rootfs\] rw$/,
    async write({ vm }) {
      await vm.randomWrites(2001, { seed: 9, writes: 5 });
      return "one";
    },
    async rehearse({ lab, vm, env }) {
      const known = ["--vmware-path", vm.path, "--state-dir", lab.stateDir];
      const args = ["rehearse", ...known, "--json", "--boot"];
      const { code, stdout, stderr } = await startCli({
        args,
        env: { ...env, TMPDIR: "/var/tmp" },
      }).result;
      assert.equal(code, 0, stderr);
      assert.equal(JSON.parse(stdout).verdict, "boots");
    },
  });
});
