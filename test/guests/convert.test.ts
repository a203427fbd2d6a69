// A guest with UEFI whose root and /boot lie on two disks, on two servers: converted by hand, without any vCenter. It is
// told that firmware may show GRUB one disk alone; where it shows both, it boots with an empty NVRAM on virtio, and the
// way back is byte for byte.

import assert from "node:assert/strict";
import { constants } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { digestOfFile } from "../digest.ts";
import { startMachine } from "../lab/guest-machine.ts";
import { startCli } from "../lab/run-cli.ts";
import { startNbdServer, startQemuNbd } from "../lab/targets.ts";
import { tempDir } from "../temp-dir.ts";
import { guestDisks } from "./debian/debian.ts";
import { recipes } from "./debian/recipe.ts";
import { expectWords, rawDisks } from "./guest-words.ts";

const guest = recipes["uefi-lvm"];
const bootTimeoutMs = 300_000;

async function copies(files: readonly string[], folder: string, name: string): Promise<string[]> {
  const to = files.map((_, index) => join(folder, `${name}-${index}.raw`));
  for (const [index, file] of files.entries()) {
    await copyFile(file, to[index]!, constants.COPYFILE_FICLONE);
  }
  return to;
}

test("a guest with UEFI and LVM over two disks boots from its targets, and comes back as it was", async () => {
  await using folder = await tempDir();
  const targets = await copies(await guestDisks("uefi-lvm"), folder.path, "target");
  const [root, data] = targets as [string, string];
  await using first = await startNbdServer({
    folder: folder.path,
    exports: [{ name: "root", file: root }],
  });
  await using second = await startQemuNbd({ file: data });
  const before = await Promise.all(targets.map(digestOfFile));
  const stateDir = join(folder.path, "state");
  const disks = ["--disk", first.uri, "--disk", second.uri];
  const run = async (command: string, ...more: string[]) => {
    const { code, stdout, stderr } = await startCli({
      args: [command, ...disks, "--state-dir", stateDir, "--json", ...more],
      env: { TMPDIR: folder.path },
    }).result;
    assert.equal(code, 0, `${command}: ${stderr}`);
    return JSON.parse(stdout);
  };
  const mac = ["--mac", `${guest.mac}=${guest.address}`];
  const { conversion } = await run("convert", "--firmware", "uefi", ...mac, "--accept-look");
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
    disks: rawDisks(await copies(targets, folder.path, "started")),
  });
  await expectWords(started, guest, { marker: "one", timeoutMs: bootTimeoutMs });

  await run("rollback");
  assert.deepEqual(await Promise.all(targets.map(digestOfFile)), before);
});
