import assert from "node:assert/strict";
import { test } from "node:test";
import { withUuidsForNames } from "../../../src/guest/repairs/luks-names.ts";
import { withOption } from "../../../src/guest/repairs/luks-root.ts";

const uuid = "6d6b0000-0000-4000-8000-00000000000a";

test("the root's entry of crypttab is taken into the initrd by its option, and no other", () => {
  const others = `# sda2_crypt UUID=${uuid} none luks\ndata UUID=1111 none luks\nswap /dev/vg/swap /dev/urandom swap\n`;
  const cases = {
    [`root UUID=${uuid} none luks,discard`]: `root UUID=${uuid} none luks,discard,initramfs`,
    [`root  UUID="${uuid.toUpperCase()}"\t/etc/key`]: `root UUID="${uuid.toUpperCase()}" /etc/key luks,initramfs`,
    [`root UUID=${uuid}`]: `root UUID=${uuid} none luks,initramfs`,
    [`root UUID=${uuid} none luks,initramfs`]: `root UUID=${uuid} none luks,initramfs`,
  };
  for (const [line, mended] of Object.entries(cases)) {
    assert.equal(withOption(`${others}${line}\n`, [uuid]), `${others}${mended}\n`);
  }
});

test("what fstab names in LUKS becomes a UUID, and what is LVM's stays", () => {
  const uuids = new Map([["/dev/mapper/root_crypt", "1234-ABCD"]]);
  const rest =
    "# /dev/mapper/root_crypt\n/dev/mapper/vg-home /home ext4\n/dev/mapper/root_crypt2 /x ext4\n";
  assert.equal(
    withUuidsForNames(`/dev/mapper/root_crypt / ext4 defaults 0 1\n${rest}`, uuids),
    `UUID=1234-ABCD / ext4 defaults 0 1\n${rest}`,
  );
});
