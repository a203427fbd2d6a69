// Each thing that a conversion or a start needs, taken away in a mount namespace of its own, is named with its package.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");
const look = `
  const { missingGuestTools } = await import("${root}/src/guest/guest.ts");
  const wishes = JSON.parse(process.argv[1]);
  for (const { message, remedy } of await missingGuestTools(wishes)) console.log(message + ": " + remedy);
`;

/** What is said to be missing where these folders are empty. */
function missingWithout(folders: readonly string[], wishes: object): string {
  const hide = folders.map((folder) => `[ ! -d ${folder} ] || mount -t tmpfs none ${folder}`);
  const node = `exec ${process.execPath} --input-type=module -e "$1" "$2"`;
  const script = [...hide, node].join("\n");
  const args = ["-rm", "sh", "-c", script, "sh", look, JSON.stringify(wishes)];
  const { status, stdout, stderr } = spawnSync("unshare", args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("a kernel for the appliance that is not there is named with its package", () => {
  assert.match(
    missingWithout(["/lib/modules"], {}),
    /^libguestfs finds no kernel here .*apt-get install linux-image-amd64; .*dnf install kernel-core\)\.\n$/,
  );
});

test("firmware for UEFI is missed by who wants to start such a guest, and by nobody else", () => {
  const folders = ["/usr/share/OVMF", "/usr/share/edk2/ovmf", "/usr/share/qemu"];
  assert.match(
    missingWithout(folders, { boot: true, firmware: "uefi" }),
    /^there is no UEFI firmware .*apt-get install ovmf; .*dnf install edk2-ovmf\)\.\n$/,
  );
  assert.equal(missingWithout(folders, { boot: true, firmware: "bios" }), "");
  assert.equal(missingWithout(folders, { firmware: "uefi" }), "");
});

test("drivers for Windows, and what it runs at its first start, are missed for Windows alone", () => {
  const folders = ["/usr/share/virtio-win", "/usr/share/virt-tools"];
  const said = missingWithout(folders, { windows: true });
  assert.match(said, /no virtio drivers for Windows here: Give virtio-win's ISO .*--virtio-win;/);
  assert.match(said, /rhsrvany\.exe is not in .*apt-get install rhsrvany;/);
  assert.equal(missingWithout(folders, {}), "");
});
