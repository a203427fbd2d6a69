import assert from "node:assert/strict";
import { test } from "node:test";
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
